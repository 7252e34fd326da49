// SPDX-License-Identifier: MIT
// Hashing while writing, with xxHash (https://github.com/Cyan4973/xxHash).
#include "moe/io/checksum.h"

#include <algorithm>
#include <fmt/format.h>
#include <new>
#include <xxhash.h>

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

HashingFile::HashingFile(Fs& fs, const std::string& path)
    : file_(fs.create(path)), whole_(XXH3_createState()) {
  if (!whole_) throw std::bad_alloc();
  XXH3_128bits_reset(whole_.get());
}

HashingFile::~HashingFile() = default;

void HashingFile::write(std::span<const std::byte> bytes) {
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
  file_->sync();
  file_->close();
  checksum_.xxh3_128 = hex(XXH3_128bits_digest(whole_.get()));
  return std::move(checksum_);
}

}  // namespace moe
