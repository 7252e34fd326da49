// SPDX-License-Identifier: MIT
// Element types, by the names that safetensors uses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace moe {

enum class DType : uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

int64_t dtype_bytes(DType dtype);
/// "F32", "BF16", "I64", "BOOL" ...
std::string_view dtype_name(DType dtype);
/// Throws Error naming the nearest valid type.
DType dtype_from_name(std::string_view name);
bool is_floating(DType dtype);

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<uint16_t> {
  static constexpr DType value = DType::u16;
};
template <>
struct DTypeOf<uint32_t> {
  static constexpr DType value = DType::u32;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// bfloat16 and IEEE half from and to float32: exact widening, round to nearest even when
/// narrowing, NaN stays NaN.
float bf16_to_f32(uint16_t bits);
uint16_t f32_to_bf16(float value);
float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value);

}  // namespace moe
