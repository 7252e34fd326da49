// SPDX-License-Identifier: MIT
// The fast float32 tables: Highway, one source compiled once per target, chosen at run time. A
// table starts as a copy of ref<float>, and each file below replaces its entries; so a missing fast
// kernel is slow, never wrong.
#pragma once

#include "moe/kernels/kernels.h"

namespace moe {

enum class CpuTarget { avx2, avx512, neon };

// Each file moe/kernels/cpu/X.cpp defines cpu_install_X. It does nothing for a target that was not
// compiled.
void cpu_install_linear(Kernels& k, CpuTarget target);
void cpu_install_norm(Kernels& k, CpuTarget target);
void cpu_install_rope(Kernels& k, CpuTarget target);
void cpu_install_attention(Kernels& k, CpuTarget target);
void cpu_install_activation(Kernels& k, CpuTarget target);
void cpu_install_softmax(Kernels& k, CpuTarget target);
void cpu_install_elementwise(Kernels& k, CpuTarget target);
void cpu_install_rows(Kernels& k, CpuTarget target);
void cpu_install_optimizer(Kernels& k, CpuTarget target);

}  // namespace moe
