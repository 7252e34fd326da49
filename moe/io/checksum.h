// SPDX-License-Identifier: MIT
// Checksums of checkpoint files: XXH3-128 of the whole and XXH3-64 of each block of 1 MiB, of a
// .safetensors file also of its header and of each tensor, so that damage is found and then
// located. They are taken while a file is written (no second read). They find accidents; against
// tampering only a signature helps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "moe/base/fs.h"

struct XXH3_state_s;

namespace moe {

/// XXH3-64 of the parts of a .safetensors file.
struct TensorChecksums {
  uint64_t header = 0;            // the length in front of it included
  std::vector<uint64_t> tensors;  // in the order of their bytes; the header has their names
};

struct FileChecksum {
  static constexpr uint64_t kBlockBytes = uint64_t{1} << 20;

  uint64_t bytes = 0;
  std::string xxh3_128;                  // 32 lower-case hexadecimal digits
  std::vector<uint64_t> blocks_xxh3_64;  // one per block, the last may be short
  std::optional<TensorChecksums> parts;  // of a .safetensors file
};

/// XXH3-128 as the canonical 32 hexadecimal digits; XXH3-64.
std::string xxh3_128_hex(std::span<const std::byte> bytes);
uint64_t xxh3_64(std::span<const std::byte> bytes);

/// A new file that is hashed on its way to the disk, in writes of one block.
class HashingFile {
 public:
  HashingFile(Fs& fs, const std::string& path);
  ~HashingFile();
  void write(std::span<const std::byte> bytes);
  /// Writes what is left, fsync, close. The object is spent.
  FileChecksum finish();

 private:
  class Parts;
  void flush_block();

  std::unique_ptr<WritableFile> file_;
  struct FreeState {
    void operator()(XXH3_state_s* state) const;
  };
  using State = std::unique_ptr<XXH3_state_s, FreeState>;
  static State new_state();
  State whole_;
  std::unique_ptr<Parts> parts_;  // of a .safetensors file
  std::vector<std::byte> block_;
  FileChecksum checksum_;
};

}  // namespace moe
