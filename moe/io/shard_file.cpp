// SPDX-License-Identifier: MIT
#include "moe/io/shard_file.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <fmt/format.h>
#include <limits>

#include "moe/base/byte_view.h"
#include "moe/base/fs.h"
#include "moe/io/byte_sink.h"
#include "moe/io/checksum.h"

namespace moe {
namespace {

constexpr uint64_t kHeaderBytes = 4096;
constexpr std::string_view kMagic = "MOESHARD";
constexpr uint32_t kVersion = 1;
constexpr size_t kHashDigits = 32;
constexpr uint32_t kBeginsInside = 1;  // a flag
// Places of the header's fields. Offsets and sizes are u64, the others u32 or text.
constexpr uint64_t kVersionAt = 8, kIdBytesAt = 12, kTokensAt = 16, kDocumentsAt = 24,
                   kVocabularyAt = 32, kBeginsOffsetAt = 64, kMaskOffsetAt = 72, kVocabSizeAt = 80,
                   kFlagsAt = 88, kFileBytesAt = 96, kContentHashAt = 104,
                   kHeaderHashAt = kHeaderBytes - 8;
constexpr uint64_t kMaxTokens = uint64_t{1} << 48;

template <class T>
void put(std::string& header, uint64_t at, T value) {
  std::memcpy(header.data() + at, &value, sizeof(T));
}

uint64_t padded(uint64_t bytes) { return (bytes + 7) / 8 * 8; }

/// Bytes of a shard of so many tokens and documents.
int64_t shard_bytes(const ShardFormat& format, int64_t tokens, int64_t documents) {
  return int64_t(kHeaderBytes + padded(uint64_t(tokens * format.id_bytes))) + 8 * (documents + 1) +
         (format.has_mask ? (tokens + 7) / 8 : 0);
}

}  // namespace

int shard_id_bytes(int64_t vocab_size) { return vocab_size <= (int64_t{1} << 16) ? 2 : 4; }

// ---- writing ----------------------------------------------------------------------------

ShardWriter::ShardWriter(Fs& fs, std::string folder, std::string stem, ShardFormat format,
                         int64_t max_bytes)
    : fs_(fs),
      folder_(std::move(folder)),
      stem_(std::move(stem)),
      format_(std::move(format)),
      max_bytes_(max_bytes) {
  MOE_CHECK(max_bytes >= int64_t(2 * kHeaderBytes), "[shards] a shard of at most ", max_bytes,
            " bytes; at least ", 2 * kHeaderBytes, " are needed");
  assert(format_.vocabulary.size() == kHashDigits);
  assert(format_.id_bytes == 2 || format_.id_bytes == 4);
}

int64_t ShardWriter::room() const {
  const int64_t documents = std::ssize(begins_) + (open_ && !begins_.empty() ? 0 : 1);
  const int64_t left = max_bytes_ - shard_bytes(format_, 0, documents) - 16;  // both paddings
  // With a mask 8 tokens take 8 ids and one byte.
  const int64_t most =
      format_.has_mask ? left * 8 / (8 * format_.id_bytes + 1) : left / format_.id_bytes;
  return std::max<int64_t>(0, most - shard_tokens_);
}

void ShardWriter::add(std::span<const int32_t> ids, std::span<const uint8_t> trained) {
  assert(trained.empty() || trained.size() == ids.size());
  while (!ids.empty()) {
    if (room() == 0) write_shard();
    const auto n = size_t(std::min<int64_t>(std::ssize(ids), room()));
    if (!open_ || begins_.empty()) begins_.push_back(uint64_t(shard_tokens_));
    open_ = true;
    const size_t before = ids_.size();
    // Grown once: doubling would hold one and a half of it at times.
    if (before > (size_t{1} << 20)) ids_.reserve(size_t(max_bytes_));
    ids_.resize(before + n * size_t(format_.id_bytes));
    for (size_t i = 0; i < n; ++i) {
      assert(ids[i] >= 0 && ids[i] < format_.vocab_size);
      const auto id = uint32_t(ids[i]);
      // Little endian: the lower bytes come first.
      std::memcpy(ids_.data() + before + i * size_t(format_.id_bytes), &id,
                  size_t(format_.id_bytes));
    }
    if (format_.has_mask) {
      mask_.resize(size_t(shard_tokens_ + int64_t(n) + 7) / 8, '\0');
      for (size_t i = 0; i < n; ++i) {
        if (!trained.empty() && trained[i] == 0) continue;
        const auto bit = size_t(shard_tokens_) + i;
        mask_[bit / 8] = char(uint8_t(mask_[bit / 8]) | (1u << (bit % 8)));
        ++shard_trained_;
      }
      if (!trained.empty()) trained = trained.subspan(n);
    } else {
      shard_trained_ += int64_t(n);
    }
    shard_tokens_ += int64_t(n);
    n_tokens_ += int64_t(n);
    ids = ids.subspan(n);
  }
}

void ShardWriter::end_document() {
  n_documents_ += open_;
  open_ = false;
}

void ShardWriter::add_document(std::span<const int32_t> ids, std::span<const uint8_t> trained) {
  assert(!open_);
  if (std::ssize(ids) > room() && shard_tokens_ > 0) write_shard();
  add(ids, trained);
  end_document();
}

void ShardWriter::write_shard() {
  const uint64_t padding = padded(ids_.size()) - ids_.size();
  ids_.append(padding, '\0');
  begins_.push_back(uint64_t(shard_tokens_));
  const auto begins = std::as_bytes(std::span(begins_));
  std::string header(kHeaderBytes, '\0');
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  put(header, kVersionAt, kVersion);
  put(header, kIdBytesAt, uint32_t(format_.id_bytes));
  put(header, kTokensAt, uint64_t(shard_tokens_));
  put(header, kDocumentsAt, uint64_t(begins_.size() - 1));
  std::memcpy(header.data() + kVocabularyAt, format_.vocabulary.data(), kHashDigits);
  const uint64_t begins_offset = kHeaderBytes + ids_.size(),
                 mask_offset = begins_offset + begins.size();
  put(header, kBeginsOffsetAt, begins_offset);
  put(header, kMaskOffsetAt, format_.has_mask ? mask_offset : uint64_t{0});
  put(header, kVocabSizeAt, uint64_t(format_.vocab_size));
  put(header, kFlagsAt, begins_inside_ ? kBeginsInside : uint32_t{0});
  put(header, kFileBytesAt, mask_offset + mask_.size());
  // The begins and the mask go behind the ids, so that the whole is hashed at once.
  ids_.append(reinterpret_cast<const char*>(begins.data()), begins.size());
  ids_ += mask_;
  const std::string hash = xxh3_128_hex(as_bytes(ids_));
  std::memcpy(header.data() + kContentHashAt, hash.data(), kHashDigits);
  put(header, kHeaderHashAt, xxh3_64(as_bytes(std::string_view(header).substr(0, kHeaderHashAt))));

  const std::string name = fmt::format("{}-{:05}.shard", stem_, shards_.size());
  const std::unique_ptr<WritableFile> file = fs_.create(join_path(folder_, name));
  file->write(as_bytes(header));
  file->write(as_bytes(ids_));
  file->sync();
  file->close();
  shards_.push_back({.name = name,
                     .bytes = int64_t(kHeaderBytes + ids_.size()),
                     .tokens = shard_tokens_,
                     .documents = std::ssize(begins_) - 1,
                     .trained = shard_trained_,
                     .xxh3_128 = hash});
  n_trained_ += shard_trained_;
  ids_.clear();
  mask_.clear();
  begins_.clear();
  shard_tokens_ = shard_trained_ = 0;
  begins_inside_ = open_;
}

const std::vector<ShardSummary>& ShardWriter::finish() {
  if (shard_tokens_ > 0) write_shard();
  return shards_;
}

// ---- reading ----------------------------------------------------------------------------

ShardFile::ShardFile(const std::string& path) : file_(path) {
  const ByteView view(file_.bytes(), "[shards] " + printable(path));
  const auto fail = [&](const std::string& why) { throw Error(str(view.what(), ": ", why)); };
  if (view.size() < kHeaderBytes || view.text(0, kMagic.size(), "magic") != kMagic)
    fail("is no token shard, or cut within its header");
  const auto version = view.read<uint32_t>(kVersionAt, "version");
  if (version != kVersion)
    fail(str("version ", version, ", this program reads version ", kVersion));
  if (view.read<uint64_t>(kHeaderHashAt, "header checksum") !=
      xxh3_64(view.slice(0, kHeaderHashAt, "header")))
    fail("its header is damaged: it differs from its checksum; prepare the data again");
  format_.id_bytes = int(view.read<uint32_t>(kIdBytesAt, "id bytes") & 0xFF);
  const auto tokens = view.read<uint64_t>(kTokensAt, "tokens"),
             documents = view.read<uint64_t>(kDocumentsAt, "documents"),
             vocab_size = view.read<uint64_t>(kVocabSizeAt, "vocabulary size");
  if (format_.id_bytes != 2 && format_.id_bytes != 4) fail("ids of neither 2 nor 4 bytes");
  if (tokens < 1 || tokens > kMaxTokens || documents < 1 || documents > tokens)
    fail(str(documents, " documents of ", tokens, " tokens cannot be"));
  if (vocab_size < 1 || vocab_size > uint64_t(std::numeric_limits<int32_t>::max()))
    fail(str("a vocabulary of ", vocab_size, " ids is not supported"));
  begins_offset_ = view.read<uint64_t>(kBeginsOffsetAt, "place of the documents");
  mask_offset_ = view.read<uint64_t>(kMaskOffsetAt, "place of the mask");
  const uint64_t begins = kHeaderBytes + padded(tokens * uint64_t(format_.id_bytes)),
                 mask = begins + 8 * (documents + 1),
                 end = mask + (mask_offset_ != 0 ? (tokens + 7) / 8 : 0);
  if (begins_offset_ != begins || (mask_offset_ != 0 && mask_offset_ != mask) ||
      view.read<uint64_t>(kFileBytesAt, "size") != end)
    fail("the places in its header do not fit together");
  if (view.size() != end)
    fail(str("has ", view.size(), " bytes, its header says ", end,
             "; it is incomplete or something was added"));
  n_tokens_ = int64_t(tokens);
  n_documents_ = int64_t(documents);
  format_.vocab_size = int64_t(vocab_size);
  format_.has_mask = mask_offset_ != 0;
  format_.vocabulary = view.text(kVocabularyAt, kHashDigits, "vocabulary");
  xxh3_128_ = view.text(kContentHashAt, kHashDigits, "checksum");
  begins_inside_ = (view.read<uint32_t>(kFlagsAt, "flags") & kBeginsInside) != 0;
  for (int64_t d = 0; d < n_documents_; ++d)
    if (document_begin(d) >= document_begin(d + 1) || document_begin(d) < 0 ||
        document_begin(d + 1) > n_tokens_)
      fail(str("document ", d, " begins at token ", document_begin(d), ", the next one at ",
               document_begin(d + 1), "; the file is damaged"));
  if (document_begin(0) != 0 || document_begin(n_documents_) != n_tokens_)
    fail("its documents do not cover its tokens; the file is damaged");
}

int64_t ShardFile::document_begin(int64_t document) const {
  assert(document >= 0 && document <= n_documents_);
  int64_t begin;
  std::memcpy(&begin, at(begins_offset_ + uint64_t(document) * 8), sizeof(begin));
  return begin;
}

void ShardFile::read(int64_t begin, std::span<int32_t> out) const {
  assert(begin >= 0 && begin + std::ssize(out) <= n_tokens_);
  const std::byte* from = at(kHeaderBytes + uint64_t(begin) * uint64_t(format_.id_bytes));
  if (format_.id_bytes == 4) {
    std::memcpy(out.data(), from, out.size_bytes());
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t id;
    std::memcpy(&id, from + 2 * i, sizeof(id));
    out[i] = id;
  }
}

bool ShardFile::trained(int64_t token) const {
  assert(token >= 0 && token < n_tokens_);
  if (mask_offset_ == 0) return true;
  const auto byte = std::to_integer<unsigned>(*at(mask_offset_ + uint64_t(token) / 8));
  return (byte >> (token % 8) & 1) != 0;
}

void ShardFile::verify() const {
  const std::string what = "[shards] " + printable(path());
  MOE_CHECK(xxh3_128_hex(file_.bytes().subspan(kHeaderBytes)) == xxh3_128_, what,
            ": its content differs from its checksum, so it is damaged or was changed; prepare the "
            "data again");
  std::vector<int32_t> ids(1 << 14);
  for (int64_t begin = 0; begin < n_tokens_; begin += std::ssize(ids)) {
    ids.resize(size_t(std::min<int64_t>(std::ssize(ids), n_tokens_ - begin)));
    read(begin, ids);
    for (size_t i = 0; i < ids.size(); ++i)
      MOE_CHECK(ids[i] >= 0 && ids[i] < format_.vocab_size, what, ": id ", ids[i], " at position ",
                begin + int64_t(i), " is not in [0, ", format_.vocab_size, ")");
  }
}

}  // namespace moe
