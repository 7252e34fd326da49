// SPDX-License-Identifier: MIT
// Reading safetensors (https://github.com/huggingface/safetensors): 8 bytes of header length, a
// JSON header {name: {dtype, shape, data_offsets}}, then the data. As strict as the library, in
// memory bounded by the header.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moe/base/byte_view.h"
#include "moe/base/mmap_file.h"
#include "moe/tensor/tensor.h"

namespace moe {

struct SafetensorsEntry {
  static constexpr int kMaxRank = 8;

  std::string name;
  std::array<int64_t, kMaxRank> sizes{};  // the first `rank` of them
  uint64_t offset = 0, bytes = 0;         // from the start of the file
  uint8_t rank = 0;
  DType dtype = DType::f32;

  /// Throws Error when there are more dimensions than a Tensor has.
  Shape shape() const;
  /// "[4, 128, 64]", for any rank.
  std::string shape_text() const;
};

/// The header of a safetensors file that need not be all there.
struct SafetensorsLayout {
  uint64_t header_end = 0;                // where the data begin
  std::vector<SafetensorsEntry> entries;  // by ascending offset: the order of their bytes
};

/// Reads the header at the beginning of a file of file_bytes bytes, of which `begin` holds the
/// first ones. Null when `begin` does not hold the whole header. Throws Error for one that is not
/// right by itself or does not fit file_bytes.
std::optional<SafetensorsLayout> read_safetensors_layout(std::span<const std::byte> begin,
                                                         uint64_t file_bytes,
                                                         const std::string& what);

/// One mapped file. Opening it checks everything but the numbers: header length (at most 100 MB and
/// within the file), JSON without duplicate keys, known dtypes, shape x dtype = byte range, ranges
/// that cover the data without overlap or hole, names of at most 256 bytes, at most 4,096 metadata
/// keys. Throws Error (file, tensor, offset) and allocates less than 4x the file + 1 MiB in any
/// case.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);

  const std::string& path() const { return file_.path(); }
  /// Sorted by name.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Null when there is no such tensor.
  const SafetensorsEntry* find(std::string_view name) const;
  /// Throws Error naming the nearest tensor when there is none of this name.
  const SafetensorsEntry& at(std::string_view name) const;

  /// The tensor's bytes in the mapped file (any alignment); valid as long as this object.
  std::span<const std::byte> bytes(const SafetensorsEntry& entry) const;
  /// A row-major copy in its own dtype.
  Tensor tensor(std::string_view name) const { return tensor(at(name)); }
  Tensor tensor(const SafetensorsEntry& entry) const;

 private:
  void parse_header(uint64_t header_bytes);
  void check_ranges(uint64_t data_begin) const;

  MmapFile file_;
  ByteView view_;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace moe
