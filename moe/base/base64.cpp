// SPDX-License-Identifier: MIT
#include "moe/base/base64.h"

#include <array>
#include <cstdint>

#include "moe/base/error.h"

namespace moe {
namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> kValues = [] {
  std::array<int8_t, 256> out{};
  out.fill(-1);
  for (size_t i = 0; i < kDigits.size(); ++i)
    out[static_cast<uint8_t>(kDigits[i])] = static_cast<int8_t>(i);
  return out;
}();

}  // namespace

std::string encode_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const std::string_view group = bytes.substr(i, 3);
    uint32_t value = 0;
    for (size_t k = 0; k < 3; ++k)
      value = value << 8 | (k < group.size() ? static_cast<uint8_t>(group[k]) : 0);
    for (size_t k = 0; k < 4; ++k)
      out += k <= group.size() ? kDigits[value >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string decode_base64(std::string_view text, const std::string& what) {
  std::string_view digits = text;
  for (int i = 0; i < 2 && !digits.empty() && digits.back() == '='; ++i) digits.remove_suffix(1);
  const bool padded = digits.size() < text.size();
  std::string out;
  out.reserve(digits.size() / 4 * 3 + 2);
  uint32_t value = 0;
  int bits = 0;
  bool good = digits.size() % 4 != 1 && (!padded || text.size() % 4 == 0);
  for (const char c : digits) {
    const int8_t digit = kValues[static_cast<uint8_t>(c)];
    good = good && digit >= 0;
    value = value << 6 | (static_cast<uint32_t>(digit) & 63);
    if ((bits += 6) >= 8) {
      bits -= 8;
      out += static_cast<char>(value >> bits & 255);
    }
  }
  MOE_CHECK(good, what, ": '", printable(text, 40), "' is not base64");
  return out;
}

}  // namespace moe
