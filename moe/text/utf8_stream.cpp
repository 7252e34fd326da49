// SPDX-License-Identifier: MIT
#include "moe/text/utf8_stream.h"

#include "moe/base/utf8.h"

namespace moe {
namespace {
constexpr char32_t kReplacement = 0xFFFD;
}

std::string Utf8Stream::push(std::string_view bytes) {
  held_.append(bytes);
  std::string out;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const Utf8Unit unit = next_utf8(rest);
    if (unit.state == Utf8State::incomplete) break;
    if (unit.state == Utf8State::complete) {
      out.append(rest.substr(0, unit.size));
    } else {
      append_utf8(out, kReplacement);
    }
    rest.remove_prefix(unit.size);
  }
  held_ = std::string(rest);
  return out;
}

std::string Utf8Stream::finish() {
  std::string out;
  if (!held_.empty()) append_utf8(out, kReplacement);
  held_.clear();
  return out;
}

}  // namespace moe
