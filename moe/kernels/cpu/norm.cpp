// SPDX-License-Identifier: MIT
#include "moe/kernels/cpu/cpu.h"

namespace moe {

void cpu_install_norm(Kernels&, CpuTarget) {}

}  // namespace moe
