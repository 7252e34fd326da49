// SPDX-License-Identifier: MIT
#include "moe/tensor/dtype.h"

#include <array>
#include <bit>
#include <vector>

#include "moe/base/error.h"

namespace moe {
namespace {

struct Info {
  DType dtype;
  std::string_view name;
  int64_t bytes;
};
constexpr std::array<Info, 13> kInfo = {{{DType::f64, "F64", 8},
                                         {DType::f32, "F32", 4},
                                         {DType::f16, "F16", 2},
                                         {DType::bf16, "BF16", 2},
                                         {DType::i64, "I64", 8},
                                         {DType::i32, "I32", 4},
                                         {DType::i16, "I16", 2},
                                         {DType::i8, "I8", 1},
                                         {DType::u64, "U64", 8},
                                         {DType::u32, "U32", 4},
                                         {DType::u16, "U16", 2},
                                         {DType::u8, "U8", 1},
                                         {DType::boolean, "BOOL", 1}}};

}  // namespace

int64_t dtype_bytes(DType dtype) { return kInfo[size_t(dtype)].bytes; }
std::string_view dtype_name(DType dtype) { return kInfo[size_t(dtype)].name; }

DType dtype_from_name(std::string_view name) {
  std::vector<std::string> names;
  for (const Info& info : kInfo) {
    if (info.name == name) return info.dtype;
    names.emplace_back(info.name);
  }
  const std::string near = nearest_word(name, names);
  throw Error(str("unknown element type '", printable(name, 40), "'",
                  near.empty() ? "" : "; did you mean " + near + "?"));
}

bool is_floating(DType dtype) {
  return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (value != value) return uint16_t((bits >> 16) | 0x40u);  // quiet
  return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float f16_to_f32(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u,
                 mantissa = bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = float(mantissa) * 0x1p-24f;  // subnormal: exact
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = (bits >> 16) & 0x8000u,
                 magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00u);  // NaN
  if (magnitude >= 0x477ff000u)
    return uint16_t(sign | 0x7c00u);  // rounds to 65520 or more: infinity
  if (magnitude < 0x38800000u) {      // subnormal or zero: the addition rounds to even
    const float shifted = std::bit_cast<float>(magnitude) + 0x1p-1f;
    return uint16_t(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return uint16_t(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace moe
