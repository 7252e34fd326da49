// SPDX-License-Identifier: MIT
// Hashing while writing, with xxHash (https://github.com/Cyan4973/xxHash).
#include "moe/io/checksum.h"

#include <algorithm>
#include <fmt/format.h>
#include <new>
#include <xxhash.h>

#include "moe/base/error.h"
#include "moe/base/str.h"
#include "moe/io/safetensors.h"

namespace moe {
namespace {

std::string hex(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace

std::string xxh3_128_hex(std::span<const std::byte> bytes) {
  return hex(XXH3_128bits(bytes.data(), bytes.size()));
}

uint64_t xxh3_64(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

void HashingFile::FreeState::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

HashingFile::State HashingFile::new_state() {
  State state(XXH3_createState());
  if (!state) throw std::bad_alloc();
  return state;
}

/// Hashes the header and each tensor of a safetensors file as its bytes pass. The header is kept
/// until it is complete, because it says where the tensors end.
class HashingFile::Parts {
 public:
  explicit Parts(std::string what) : what_(std::move(what)), state_(new_state()) {}

  void write(std::span<const std::byte> bytes) {
    if (!layout_) {
      const size_t before = header_.size();
      header_.insert(header_.end(), bytes.begin(), bytes.end());
      // The file is not whole yet, so its length bounds nothing; the verifier checks that.
      layout_ = read_safetensors_layout(header_, uint64_t{1} << 62, what_);
      if (!layout_) return;
      out_.header = xxh3_64(std::span(header_).first(layout_->header_end));
      bytes = bytes.subspan(layout_->header_end - before);
      header_ = {};
      begin_tensor();
    }
    while (!bytes.empty()) {
      MOE_CHECK(next_ < layout_->entries.size(), what_, ": bytes follow the last tensor");
      const size_t n = size_t(std::min<uint64_t>(bytes.size(), left_));
      XXH3_64bits_update(state_.get(), bytes.data(), n);
      bytes = bytes.subspan(n);
      left_ -= n;
      if (left_ == 0) end_tensor();
    }
  }

  TensorChecksums finish() {
    MOE_CHECK(layout_ && next_ == layout_->entries.size(), what_, ": the file ends too early");
    return std::move(out_);
  }

 private:
  void begin_tensor() {
    while (next_ < layout_->entries.size()) {
      XXH3_64bits_reset(state_.get());
      left_ = layout_->entries[next_].bytes;
      if (left_ > 0) return;
      end_one();
    }
  }
  void end_one() {
    out_.tensors.push_back(XXH3_64bits_digest(state_.get()));
    ++next_;
  }
  void end_tensor() {
    end_one();
    begin_tensor();
  }

  std::string what_;
  State state_;
  std::vector<std::byte> header_;
  std::optional<SafetensorsLayout> layout_;
  size_t next_ = 0;
  uint64_t left_ = 0;  // bytes of tensor next_
  TensorChecksums out_;
};

HashingFile::HashingFile(Fs& fs, const std::string& path)
    : file_(fs.create(path)), whole_(new_state()) {
  XXH3_128bits_reset(whole_.get());
  if (ends_with(path, ".safetensors"))
    parts_ = std::make_unique<Parts>(str("[safetensors] ", path));
}

HashingFile::~HashingFile() = default;

void HashingFile::write(std::span<const std::byte> bytes) {
  if (parts_) parts_->write(bytes);
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), size_t(FileChecksum::kBlockBytes) - block_.size());
    block_.insert(block_.end(), bytes.begin(), bytes.begin() + std::ptrdiff_t(n));
    bytes = bytes.subspan(n);
    if (block_.size() == FileChecksum::kBlockBytes) flush_block();
  }
}

void HashingFile::flush_block() {
  if (block_.empty()) return;
  file_->write(block_);
  XXH3_128bits_update(whole_.get(), block_.data(), block_.size());
  checksum_.blocks_xxh3_64.push_back(xxh3_64(block_));
  checksum_.bytes += block_.size();
  block_.clear();
}

FileChecksum HashingFile::finish() {
  flush_block();
  if (parts_) checksum_.parts = parts_->finish();
  file_->sync();
  file_->close();
  checksum_.xxh3_128 = hex(XXH3_128bits_digest(whole_.get()));
  return std::move(checksum_);
}

}  // namespace moe
