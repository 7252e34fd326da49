// SPDX-License-Identifier: MIT
// The fast tables: which of the compiled targets this processor runs, best first. The arithmetic of
// every target has the same bits, so which one runs is a matter of speed alone.
//
// A kernel file X.cpp of this folder is compiled once per target by Highway's foreach_target.h:
//
// clang-format off
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "moe/kernels/cpu/X.cpp"
//   #define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)  // no FMA; nothing we use beyond AVX3
//   #include "hwy/foreach_target.h"
//   #include "hwy/highway.h"
//
//   #if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON  // not the scalar baseline
//   HWY_BEFORE_NAMESPACE();
//   namespace moe::HWY_NAMESPACE { ... void install(Kernels& k) { k.add = add; ... } }
//   HWY_AFTER_NAMESPACE();
//   #endif
//
//   #if HWY_ONCE
//   namespace moe { MOE_DEFINE_CPU_INSTALL(cpu_install_X, install) }  // moe/kernels/cpu/frame.h
//   #endif
// clang-format on
#include <vector>

#include "moe/kernels/cpu/cpu.h"

#include "hwy/targets.h"

namespace moe {
namespace {

Kernels fast_table(const char* name, CpuTarget target) {
  Kernels k = ref_kernels<float>();
  k.name = name;
  cpu_install_linear(k, target);
  cpu_install_norm(k, target);
  cpu_install_rope(k, target);
  cpu_install_attention(k, target);
  cpu_install_activation(k, target);
  cpu_install_softmax(k, target);
  cpu_install_elementwise(k, target);
  cpu_install_rows(k, target);
  cpu_install_optimizer(k, target);
  return k;
}

std::vector<Kernels> fast_tables() {
  std::vector<Kernels> tables;
  const int64_t supported = hwy::SupportedTargets() & HWY_TARGETS;
#if HWY_ARCH_X86
  if (supported & HWY_AVX3) tables.push_back(fast_table("cpu-avx512", CpuTarget::avx512));
  if (supported & HWY_AVX2) tables.push_back(fast_table("cpu-avx2", CpuTarget::avx2));
#elif HWY_ARCH_ARM
  if (supported & HWY_NEON) tables.push_back(fast_table("cpu-neon", CpuTarget::neon));
#endif
  return tables;
}

}  // namespace

std::span<const Kernels* const> cpu_kernels() {
  static const std::vector<Kernels> tables = fast_tables();
  static const std::vector<const Kernels*> pointers = [] {
    std::vector<const Kernels*> all;
    for (const Kernels& table : tables) all.push_back(&table);
    return all;
  }();
  return pointers;
}

}  // namespace moe
