// SPDX-License-Identifier: MIT
// Reading and writing the manifest (see manifest.h).
#include "moe/io/manifest.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/mmap_file.h"
#include "moe/base/str.h"
#include "moe/io/byte_sink.h"
#include "moe/io/json_scanner.h"

namespace moe {
namespace {

constexpr std::string_view kFormat = "moe.cpp checkpoint manifest";
// 2 added the optional keys header_xxh3_64 and tensors_xxh3_64 of a file.
constexpr uint64_t kVersion = 2;
constexpr size_t kMaxTextBytes = 256;

// The end of every manifest; what comes before it is what the checksum covers.
constexpr std::string_view kTailBegin = ",\n  \"xxh3_128\": \"", kTailEnd = "\"\n}\n";
constexpr size_t kHexDigits = 32;
constexpr size_t kTailBytes = kTailBegin.size() + kHexDigits + kTailEnd.size();

std::string tail(std::string_view body) {
  return str(kTailBegin, xxh3_128_hex(as_bytes(body)), kTailEnd);
}

/// Refuses a key that was seen before and, at the end, a missing one. Key i of `names` is bit i.
class SeenKeys {
 public:
  explicit SeenKeys(std::span<const std::string_view> names) : names_(names) {}
  void add(const JsonScanner& json, std::string_view key) {
    for (size_t i = 0; i < names_.size(); ++i) {
      if (names_[i] != key) continue;
      if (seen_ >> i & 1) json.fail(str("the key '", key, "' occurs twice"));
      seen_ |= 1u << i;
      return;
    }
    json.fail(str("an unknown key '", printable(key), "'"));
  }
  bool has(size_t i) const { return seen_ >> i & 1; }
  /// The first n of the names.
  void require(const JsonScanner& json, size_t n) const {
    for (size_t i = 0; i < n; ++i)
      if (!(seen_ >> i & 1)) json.fail(str("the key '", names_[i], "' is missing"));
  }

 private:
  std::span<const std::string_view> names_;
  uint32_t seen_ = 0;
};
constexpr std::string_view kFileKeys[] = {"name",           "bytes",          "xxh3_128",
                                          "blocks_xxh3_64", "header_xxh3_64", "tensors_xxh3_64"};
constexpr size_t kRequiredFileKeys = 4;
constexpr std::string_view kManifestKeys[] = {"format", "version", "step", "files", "xxh3_128"};

uint64_t hex_u64(JsonScanner& json) {
  const std::string digits = json.string(16);
  uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.size() != 16 || error != std::errc() || end != digits.data() + 16)
    json.fail("16 hexadecimal digits belong here");
  return value;
}

void append_hex_list(std::string& text, const std::vector<uint64_t>& values) {
  text += '[';
  for (size_t i = 0; i < values.size(); ++i)
    text += fmt::format("{}\"{:016x}\"", i ? ", " : "", values[i]);
  text += ']';
}

Manifest::File read_file_entry(JsonScanner& json) {
  Manifest::File file;
  TensorChecksums parts;
  SeenKeys seen(kFileKeys);
  json.begin_object();
  std::string key;
  while (json.next_key(key, kMaxTextBytes)) {
    seen.add(json, key);
    if (key == "name") {
      file.name = json.string(kMaxTextBytes);
    } else if (key == "bytes") {
      file.checksum.bytes = json.unsigned_integer();
    } else if (key == "xxh3_128") {
      file.checksum.xxh3_128 = json.string(kHexDigits);
    } else if (key == "header_xxh3_64") {
      parts.header = hex_u64(json);
    } else {
      auto& list = key == "blocks_xxh3_64" ? file.checksum.blocks_xxh3_64 : parts.tensors;
      json.begin_array();
      while (json.next_element()) list.push_back(hex_u64(json));
    }
  }
  seen.require(json, kRequiredFileKeys);
  if (seen.has(kRequiredFileKeys) != seen.has(kRequiredFileKeys + 1))
    json.fail("header_xxh3_64 and tensors_xxh3_64 belong together");
  if (seen.has(kRequiredFileKeys)) file.checksum.parts = std::move(parts);
  if (!is_plain_file_name(file.name) || file.name == kManifestName)
    json.fail(str("'", printable(file.name), "' is not the name of a file inside the folder"));
  const FileChecksum& checksum = file.checksum;
  const uint64_t n_blocks = checksum.bytes / FileChecksum::kBlockBytes +
                            (checksum.bytes % FileChecksum::kBlockBytes != 0);
  if (checksum.blocks_xxh3_64.size() != n_blocks || checksum.xxh3_128.size() != kHexDigits)
    json.fail(str("'", printable(file.name), "' of ", checksum.bytes, " bytes has ",
                  checksum.blocks_xxh3_64.size(), " block checksums, not ", n_blocks,
                  ", or no xxh3_128"));
  return file;
}

}  // namespace

std::string manifest_text(const Manifest& manifest) {
  std::string text = str("{\n  \"format\": \"", kFormat, "\",\n  \"version\": ", kVersion,
                         ",\n  \"step\": ", manifest.step, ",\n  \"files\": [");
  for (const Manifest::File& file : manifest.files) {
    text += &file == &manifest.files.front() ? "\n    {\"name\": " : ",\n    {\"name\": ";
    append_json_string(text, file.name);
    text += str(", \"bytes\": ", file.checksum.bytes, ", \"xxh3_128\": \"", file.checksum.xxh3_128,
                "\", \"blocks_xxh3_64\": ");
    append_hex_list(text, file.checksum.blocks_xxh3_64);
    if (const auto& parts = file.checksum.parts) {
      text +=
          fmt::format(", \"header_xxh3_64\": \"{:016x}\", \"tensors_xxh3_64\": ", parts->header);
      append_hex_list(text, parts->tensors);
    }
    text += "}";
  }
  text += "\n  ]";
  return text + tail(text);
}

Manifest parse_manifest(std::string_view text, const std::string& what) {
  MOE_CHECK(text.size() >= kTailBytes, what, ": it is cut short (", text.size(), " bytes)");
  const size_t body_bytes = text.size() - kTailBytes;
  MOE_CHECK(text.substr(body_bytes) == tail(text.substr(0, body_bytes)), what,
            ": it differs from its own checksum, so it is damaged or was edited");
  JsonScanner json(text, what);
  Manifest manifest;
  SeenKeys seen(kManifestKeys);
  json.begin_object();
  std::string key;
  while (json.next_key(key, kMaxTextBytes)) {
    seen.add(json, key);
    if (key == "format") {
      if (json.string(kMaxTextBytes) != kFormat) json.fail("this is not a checkpoint manifest");
    } else if (key == "version") {
      if (const uint64_t version = json.unsigned_integer(); version < 1 || version > kVersion)
        json.fail(str("version ", version, ", this program reads versions 1 to ", kVersion));
    } else if (key == "step") {
      const uint64_t step = json.unsigned_integer();
      if (step > uint64_t(INT64_MAX)) json.fail("step does not fit in 63 bits");
      manifest.step = int64_t(step);
    } else if (key == "files") {
      json.begin_array();
      while (json.next_element()) manifest.files.push_back(read_file_entry(json));
    } else {
      json.skip_value();  // the checksum, compared above
    }
  }
  json.finish();
  seen.require(json, std::size(kManifestKeys));
  std::vector<std::string_view> names;
  names.reserve(manifest.files.size());
  for (const Manifest::File& file : manifest.files) names.push_back(file.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) json.fail(str("the file '", printable(*twice), "' occurs twice"));
  return manifest;
}

Manifest read_manifest(const std::string& folder) {
  const std::string path = join_path(folder, kManifestName);
  MOE_CHECK(exists(path), "[checkpoint] ", folder, ": it has no ", kManifestName);
  const MmapFile file(path);
  return parse_manifest({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()},
                        str("[checkpoint] ", path));
}

}  // namespace moe
