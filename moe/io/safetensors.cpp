// SPDX-License-Identifier: MIT
// The safetensors reader: header scan, then the checks that the library's SafeTensors::deserialize
// makes.
#include "moe/io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "moe/base/error.h"
#include "moe/base/str.h"
#include "moe/io/json_scanner.h"

namespace moe {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the library's MAX_HEADER_SIZE
constexpr size_t kMaxNameBytes = 256;
constexpr size_t kMaxMetadataBytes = size_t{16} << 20;
constexpr size_t kMaxNamesToCompare = 10'000;  // for "the nearest name is"; more would take seconds
constexpr size_t kMaxMetadataKeys =
    4096;  // a map node costs about 15x its shortest text, so they are counted

// The shortest member: "":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},  It bounds how many
// entries a header of a given length can hold, so that reserve() neither overshoots on a hostile
// header nor grows by doubling.
constexpr size_t kMinEntryBytes = 51;
static_assert(sizeof(SafetensorsEntry) + sizeof(uint32_t) < 3 * kMinEntryBytes);

void read_metadata(JsonScanner& json, std::map<std::string, std::string>& metadata) {
  json.begin_object();
  std::string key;
  while (json.next_key(key, kMaxMetadataBytes)) {
    if (metadata.size() == kMaxMetadataKeys)
      json.fail(str("more than ", kMaxMetadataKeys, " keys in __metadata__"));
    std::string value = json.string(kMaxMetadataBytes);
    if (!metadata.try_emplace(std::move(key), std::move(value)).second)
      json.fail("a key occurs twice in __metadata__");
    key = {};
  }
}

void read_sizes(JsonScanner& json, SafetensorsEntry& entry) {
  json.begin_array();
  while (json.next_element()) {
    if (entry.rank == SafetensorsEntry::kMaxRank)
      json.fail(str("tensor '", printable(entry.name), "' has more than 8 dimensions"));
    const uint64_t size = json.unsigned_integer();
    if (size > uint64_t(INT64_MAX))
      json.fail(str("tensor '", printable(entry.name), "' has a size of ", size));
    entry.sizes[entry.rank++] = int64_t(size);
  }
}

/// data_offsets count from the end of the header.
std::array<uint64_t, 2> read_offsets(JsonScanner& json) {
  std::array<uint64_t, 2> range{};
  json.begin_array();
  for (uint64_t& offset : range) {
    if (!json.next_element()) json.fail("data_offsets wants two numbers");
    offset = json.unsigned_integer();
  }
  if (json.next_element()) json.fail("data_offsets wants two numbers");
  return range;
}

/// Reads {dtype, shape, data_offsets} of entry.name and checks it by itself.
void read_entry(JsonScanner& json, SafetensorsEntry& entry, uint64_t data_begin,
                uint64_t data_bytes) {
  const std::string name = str("tensor '", printable(entry.name), "'");
  bool has_dtype = false, has_shape = false;
  std::optional<std::array<uint64_t, 2>> range;
  json.begin_object();
  std::string key;
  while (json.next_key(key, kMaxNameBytes)) {
    if (key == "dtype" && !has_dtype) {
      has_dtype = true;
      const std::string dtype = json.string(kMaxNameBytes);
      try {
        entry.dtype = dtype_from_name(dtype);
      } catch (const Error& error) {
        json.fail(str(name, " has dtype '", printable(dtype), "', which is not supported (",
                      error.what(), ")"));
      }
    } else if (key == "shape" && !has_shape) {
      has_shape = true;
      read_sizes(json, entry);
    } else if (key == "data_offsets" && !range) {
      range = read_offsets(json);
    } else {
      json.fail(str(name, " has an unknown or repeated key '", printable(key), "'"));
    }
  }
  if (!has_dtype || !has_shape || !range)
    json.fail(str(name, " lacks dtype, shape or data_offsets"));

  const auto [begin, end] = *range;
  if (begin > end || end > data_bytes)
    json.fail(str(name, " lies at bytes ", begin, " to ", end, " of the data, which has ",
                  data_bytes, "; the file is damaged or incomplete"));
  uint64_t want = uint64_t(dtype_bytes(entry.dtype));
  for (int i = 0; i < entry.rank; ++i)
    want = checked_mul(want, uint64_t(entry.sizes[size_t(i)]), str("[safetensors] size of ", name));
  if (want != end - begin)
    json.fail(str(name, " of ", dtype_name(entry.dtype), " ", entry.shape_text(), " takes ", want,
                  " bytes, its data_offsets hold ", end - begin));
  entry.offset = data_begin + begin;
  entry.bytes = end - begin;
}

/// Entries in the order of the header. data_bytes: how many follow it.
std::vector<SafetensorsEntry> read_entries(std::string_view header, uint64_t data_bytes,
                                           const std::string& what,
                                           std::map<std::string, std::string>& metadata) {
  // The library wants the brace first, so that the data of other formats is not taken for a header.
  MOE_CHECK(starts_with(header, "{"), what, ": the header does not start with '{'");
  const auto braces = size_t(std::count(header.begin(), header.end(), '{'));
  std::vector<SafetensorsEntry> entries;
  entries.reserve(std::min(braces, header.size() / kMinEntryBytes + 1));

  JsonScanner json(header, what);
  json.begin_object();
  bool has_metadata = false;
  std::string name;
  while (json.next_key(name, kMaxNameBytes)) {
    if (name == "__metadata__") {
      if (std::exchange(has_metadata, true)) json.fail("__metadata__ occurs twice");
      read_metadata(json, metadata);
      continue;
    }
    SafetensorsEntry entry;
    entry.name = std::move(name);
    read_entry(json, entry, 8 + header.size(), data_bytes);
    entries.push_back(std::move(entry));
    name = {};
  }
  json.finish();
  return entries;
}

}  // namespace

Shape SafetensorsEntry::shape() const {
  MOE_CHECK(rank <= Shape::kMaxRank, "[safetensors] tensor '", printable(name), "' has ", int(rank),
            " dimensions, at most ", Shape::kMaxRank, " are supported");
  Shape shape;
  for (int i = 0; i < rank; ++i) shape.push_back(sizes[size_t(i)]);
  return shape;
}

std::string SafetensorsEntry::shape_text() const {
  std::string text = "[";
  for (int i = 0; i < rank; ++i) text += str(i ? ", " : "", sizes[size_t(i)]);
  return text + "]";
}

std::optional<SafetensorsLayout> read_safetensors_layout(std::span<const std::byte> begin,
                                                         uint64_t file_bytes,
                                                         const std::string& what) {
  uint64_t header_bytes = 0;
  if (std::min<uint64_t>(begin.size(), file_bytes) < sizeof header_bytes) return std::nullopt;
  std::memcpy(&header_bytes, begin.data(), sizeof header_bytes);
  MOE_CHECK(header_bytes <= kMaxHeaderBytes && header_bytes <= file_bytes - sizeof header_bytes,
            what, ": the header length is ", header_bytes,
            " bytes; this is not a safetensors file");
  SafetensorsLayout layout{.header_end = sizeof header_bytes + header_bytes, .entries = {}};
  if (begin.size() < layout.header_end) return std::nullopt;
  std::map<std::string, std::string> metadata;
  layout.entries =
      read_entries({reinterpret_cast<const char*>(begin.data()) + 8, size_t(header_bytes)},
                   file_bytes - layout.header_end, what, metadata);
  std::stable_sort(layout.entries.begin(), layout.entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  return layout;
}

SafetensorsFile::SafetensorsFile(const std::string& path)
    : file_(path), view_(file_.bytes(), str("[safetensors] ", path)) {
  const auto header_bytes = view_.read<uint64_t>(0, "the header length");
  MOE_CHECK(header_bytes <= kMaxHeaderBytes, view_.what(), ": the header length is ", header_bytes,
            " bytes, at most ", kMaxHeaderBytes, " are allowed; this is not a safetensors file");
  MOE_CHECK(header_bytes <= view_.size() - 8, view_.what(), ": the header length is ", header_bytes,
            " bytes, but the file has ", view_.size(), "; it is damaged or incomplete");
  parse_header(header_bytes);
  check_ranges(8 + header_bytes);
}

void SafetensorsFile::parse_header(uint64_t header_bytes) {
  entries_ = read_entries(view_.text(8, header_bytes, "the header"),
                          view_.size() - 8 - header_bytes, view_.what(), metadata_);
  std::sort(entries_.begin(), entries_.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twice =
      std::adjacent_find(entries_.begin(), entries_.end(),
                         [](const auto& a, const auto& b) { return a.name == b.name; });
  MOE_CHECK(twice == entries_.end(), view_.what(), ": tensor '", printable(twice->name),
            "' occurs twice in the header");
}

void SafetensorsFile::check_ranges(uint64_t data_begin) const {
  std::vector<uint32_t> order(entries_.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    const auto &x = entries_[a], &y = entries_[b];
    return std::pair(x.offset, x.bytes) < std::pair(y.offset, y.bytes);
  });
  uint64_t end = data_begin;
  for (const uint32_t i : order) {
    const SafetensorsEntry& entry = entries_[i];
    MOE_CHECK(entry.offset == end, view_.what(), ": tensor '", printable(entry.name),
              "' starts at byte ", entry.offset, ", the one before it ends at ", end,
              (entry.offset < end ? " (they overlap)" : " (there is a hole)"));
    end += entry.bytes;
  }
  MOE_CHECK(end == view_.size(), view_.what(), ": the tensors end at byte ", end, ", the file at ",
            view_.size());
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto at = std::lower_bound(
      entries_.begin(), entries_.end(), name,
      [](const SafetensorsEntry& entry, std::string_view wanted) { return entry.name < wanted; });
  return at != entries_.end() && at->name == name ? &*at : nullptr;
}

const SafetensorsEntry& SafetensorsFile::at(std::string_view name) const {
  if (const SafetensorsEntry* entry = find(name)) return *entry;
  std::string nearest;
  if (entries_.size() <= kMaxNamesToCompare) {
    std::vector<std::string> names;
    for (const SafetensorsEntry& entry : entries_) names.push_back(entry.name);
    nearest = nearest_word(name, names);
  }
  throw Error(str(view_.what(), ": there is no tensor '", printable(name), "' among its ",
                  entries_.size(),
                  nearest.empty() ? "" : str("; the nearest name is '", printable(nearest), "'")));
}

std::span<const std::byte> SafetensorsFile::bytes(const SafetensorsEntry& entry) const {
  return view_.slice(entry.offset, entry.bytes, entry.name);
}

Tensor SafetensorsFile::tensor(const SafetensorsEntry& entry) const {
  const Tensor copy = Tensor::empty(entry.shape(), entry.dtype);
  const auto source = bytes(entry);
  if (!source.empty()) std::memcpy(copy.raw(), source.data(), source.size());
  return copy;
}

}  // namespace moe
