// SPDX-License-Identifier: MIT
#include "moe/data/html_encoding.h"

#include <cerrno>
#include <iconv.h>
#include <map>
#include <memory>

#include "moe/base/str.h"
#include "moe/base/utf8.h"

namespace moe {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

std::string lower_ascii(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

/// The name that iconv has for a label of the WHATWG's Encoding Standard.
std::string iconv_name(const std::string& label) {
  static const std::map<std::string, std::string> kNames = {{"iso-8859-1", "WINDOWS-1252"},
                                                            {"latin1", "WINDOWS-1252"},
                                                            {"us-ascii", "WINDOWS-1252"},
                                                            {"ascii", "WINDOWS-1252"},
                                                            {"iso8859-1", "WINDOWS-1252"},
                                                            {"iso-8859-9", "WINDOWS-1254"},
                                                            {"tis-620", "WINDOWS-874"},
                                                            {"gb2312", "GB18030"},
                                                            {"gbk", "GB18030"},
                                                            {"gb_2312-80", "GB18030"},
                                                            {"x-gbk", "GB18030"},
                                                            {"shift_jis", "CP932"},
                                                            {"shift-jis", "CP932"},
                                                            {"sjis", "CP932"},
                                                            {"x-sjis", "CP932"},
                                                            {"windows-31j", "CP932"},
                                                            {"euc-kr", "CP949"},
                                                            {"ks_c_5601-1987", "CP949"},
                                                            {"big5", "BIG5-HKSCS"},
                                                            {"x-x-big5", "BIG5-HKSCS"},
                                                            {"utf8", "UTF-8"},
                                                            {"unicode-1-1-utf-8", "UTF-8"}};
  const auto found = kNames.find(label);
  return found == kNames.end() ? label : found->second;
}

std::string repaired_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Unit unit = next_utf8(bytes);
    if (unit.state != Utf8State::complete || unit.code_point == 0)
      out += kReplacement;
    else
      out += bytes.substr(0, unit.size);
    bytes.remove_prefix(unit.state == Utf8State::incomplete ? bytes.size() : unit.size);
  }
  return out;
}

/// Converts with iconv; false when it does not know the encoding.
bool convert(std::string_view bytes, const std::string& encoding, std::string& out) {
  const iconv_t handle = iconv_open("UTF-8", encoding.c_str());
  if (handle == reinterpret_cast<iconv_t>(-1)) return false;
  const std::unique_ptr<void, int (*)(iconv_t)> owner(handle, iconv_close);
  char* in = const_cast<char*>(bytes.data());  // iconv does not write to it
  size_t left = bytes.size();
  char buffer[16384];
  while (left > 0) {
    char* to = buffer;
    size_t room = sizeof buffer;
    const size_t result = iconv(handle, &in, &left, &to, &room);
    const int error = errno;
    out.append(buffer, static_cast<size_t>(to - buffer));
    if (result != static_cast<size_t>(-1)) break;
    if (error == E2BIG) continue;
    out += kReplacement;
    if (error == EINVAL) break;  // cut short at the end
    ++in;
    --left;
    iconv(handle, nullptr, nullptr, nullptr, nullptr);
  }
  return true;
}

}  // namespace

std::string declared_encoding(std::string_view bytes) {
  if (starts_with(bytes, "\xEF\xBB\xBF")) return "utf-8";
  if (starts_with(bytes, "\xFF\xFE")) return "utf-16le";
  if (starts_with(bytes, "\xFE\xFF")) return "utf-16be";
  const std::string head = lower_ascii(bytes.substr(0, 4096));
  for (size_t at = 0; (at = head.find("<meta", at)) != std::string::npos; at += 5) {
    const std::string_view tag =
        std::string_view(head).substr(at, std::min(head.find('>', at), head.size()) - at);
    size_t from = tag.find("charset");
    if (from == std::string_view::npos) continue;
    from = tag.find_first_not_of(" \t\r\n", from + 7);
    if (from == std::string_view::npos || tag[from] != '=') continue;
    from = tag.find_first_not_of(" \t\r\n\"'", from + 1);
    if (from == std::string_view::npos) continue;
    const size_t to = std::min(tag.find_first_of(" \t\r\n\"';/>", from), tag.size());
    std::string name(tag.substr(from, to - from));
    if (name.empty() || name.size() > 40) continue;
    // A page whose <meta> can be read as ASCII is no UTF-16.
    return starts_with(name, "utf-16") || starts_with(name, "utf-32") ? "utf-8" : name;
  }
  return "";
}

std::string html_to_utf8(std::string_view bytes) {
  const std::string declared = declared_encoding(bytes);
  if (starts_with(bytes, "\xEF\xBB\xBF")) bytes.remove_prefix(3);
  if (starts_with(declared, "utf-16")) bytes.remove_prefix(2);
  const std::string name = iconv_name(declared);
  const bool well_formed = first_invalid_utf8(bytes) == std::string::npos;
  const bool is_utf8 = declared.empty() ? well_formed : name == "UTF-8" || name == "utf-8";
  std::string out;
  if (!is_utf8) {
    // Transliteration and other wishes behind "//" are none of an encoding's name.
    const bool plain = name.find_first_not_of(
                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_:.+") ==
                       std::string::npos;
    if (!declared.empty() && plain && convert(bytes, name, out)) return repaired_utf8(out);
    out.clear();
    if (!well_formed && convert(bytes, "WINDOWS-1252", out)) return repaired_utf8(out);
  }
  return repaired_utf8(bytes);
}

}  // namespace moe
