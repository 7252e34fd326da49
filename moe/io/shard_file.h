// SPDX-License-Identifier: MIT
// Token shards: documents of token ids on disk, each id with whether it is learned. Little endian:
//
//   byte 0     header, 4,096 bytes (its fields are in shard_file.cpp)
//   4096       token ids, u16 or u32; padded with zeros to a multiple of 8
//   then       u64 begin of each document, in tokens, and the number of tokens
//   then       where not every token is learned: one bit a token, the lowest bit of a byte first
//
// The header holds the hash of the vocabulary, which a file of bare ids lacks, and checksums of
// itself and of all that follows.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "moe/base/mmap_file.h"

namespace moe {

class Fs;

struct ShardFormat {
  int id_bytes = 2;             // 2 or 4
  int64_t vocab_size = 0;       // every id is below it
  std::string vocabulary = {};  // xxh3_128_hex of what the ids stand for, 32 digits
  bool has_mask = false;        // false: every token is learned
};
/// 2 when all ids of a vocabulary fit into 16 bits, else 4.
int shard_id_bytes(int64_t vocab_size);

/// A shard that lies on disk.
struct ShardSummary {
  std::string name = {};
  int64_t bytes = 0, tokens = 0, documents = 0, trained = 0;
  std::string xxh3_128 = {};  // of all behind the header
};

/// Writes documents into files STEM-00000.shard, STEM-00001.shard ... of a folder, each of at most
/// max_bytes. The next shard is kept in memory until it is full. What goes into which shard depends
/// on the documents alone.
class ShardWriter {
 public:
  /// max_bytes: at least 8 KiB.
  ShardWriter(Fs& fs, std::string folder, std::string stem, ShardFormat format, int64_t max_bytes);
  /// Tokens at the end of the present document. trained: 1 for each that is learned; empty for all.
  /// A document that is longer than a shard goes on in the next one.
  void add(std::span<const int32_t> ids, std::span<const uint8_t> trained = {});
  /// Ends the present document; one without tokens leaves no trace.
  void end_document();
  /// A whole document, which begins a new shard when this one has no room for all of it.
  void add_document(std::span<const int32_t> ids, std::span<const uint8_t> trained = {});
  /// Writes the last shard. Nothing may be added after it.
  const std::vector<ShardSummary>& finish();
  /// Documents that were ended, and their tokens.
  int64_t n_documents() const { return n_documents_; }
  int64_t n_tokens() const { return n_tokens_; }
  int64_t n_trained() const { return n_trained_; }

 private:
  int64_t room() const;  // tokens that the shard still takes
  void write_shard();

  Fs& fs_;
  std::string folder_, stem_;
  ShardFormat format_;
  int64_t max_bytes_;
  std::string ids_, mask_;        // of the next shard
  std::vector<uint64_t> begins_;  // of its documents
  int64_t shard_tokens_ = 0, shard_trained_ = 0;
  bool begins_inside_ = false;  // its first document began in the shard before
  bool open_ = false;           // a document has tokens and no end
  int64_t n_documents_ = 0, n_tokens_ = 0, n_trained_ = 0;
  std::vector<ShardSummary> shards_;
};

/// A mapped shard. Opening checks the header against its checksum, the sizes and the documents'
/// begins; verify() reads all of it. Throws Error naming the file and what is wrong.
class ShardFile {
 public:
  explicit ShardFile(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const ShardFormat& format() const { return format_; }
  int64_t n_tokens() const { return n_tokens_; }
  /// Documents, a part of one included.
  int64_t n_documents() const { return n_documents_; }
  /// Whether the first of them began in the shard before.
  bool begins_inside() const { return begins_inside_; }
  const std::string& xxh3_128() const { return xxh3_128_; }

  /// The first token of a document, 0 <= document <= n_documents().
  int64_t document_begin(int64_t document) const;
  /// The ids [begin, begin + out.size()).
  void read(int64_t begin, std::span<int32_t> out) const;
  bool trained(int64_t token) const;

  /// Throws Error when the content is not what was written, or an id is not in the vocabulary.
  void verify() const;

 private:
  const std::byte* at(uint64_t offset) const { return file_.bytes().data() + offset; }

  MmapFile file_;
  ShardFormat format_;
  int64_t n_tokens_ = 0, n_documents_ = 0;
  uint64_t begins_offset_ = 0, mask_offset_ = 0;
  bool begins_inside_ = false;
  std::string xxh3_128_;
};

}  // namespace moe
