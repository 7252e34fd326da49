// SPDX-License-Identifier: MIT
#include "moe/kernels/cpu/cpu.h"

namespace moe {

void cpu_install_softmax(Kernels&, CpuTarget) {}

}  // namespace moe
