// SPDX-License-Identifier: MIT
// Which kernel table is in use: chosen once at start, changed only by tests and --isa.
#include "moe/kernels/kernels.h"

#include <string>
#include <vector>

#include "moe/base/error.h"

namespace moe {
namespace {

const Kernels* chosen = nullptr;

}  // namespace

const Kernels& kernels(DType dtype) {
  if (dtype == DType::f64) return ref_kernels<double>();
  MOE_CHECK(dtype == DType::f32, "[kernels] no kernels compute in ", dtype_name(dtype));
  if (!chosen) chosen = cpu_kernels().empty() ? &ref_kernels<float>() : cpu_kernels().front();
  return *chosen;
}

void use_kernels(const Kernels& table) { chosen = &table; }

void use_kernels(const char* name) {
  std::vector<std::string> names;
  for (const Kernels* table : cpu_kernels()) {
    const std::string full = table->name;
    if (full == name || full == str("cpu-", name)) return use_kernels(*table);
    names.push_back(full);
  }
  const std::string ref = ref_kernels<float>().name;
  if (ref == name || std::string("ref") == name) return use_kernels(ref_kernels<float>());
  names.push_back(ref);
  throw Error(
      str("[kernels] '", printable(name, 40),
          "' is unknown or not supported by this processor; use one of ", join(names, ", ")),
      ExitCode::usage);
}

void check_processor() {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    throw Error(
        "[kernels] this processor lacks AVX2 or FMA; moe needs an x86-64 processor of 2013 "
        "(Haswell) or later, or a 64-bit Arm");
#endif
}

}  // namespace moe
