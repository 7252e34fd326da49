// SPDX-License-Identifier: MIT
// Token shards: what is written is read, and nothing else is.
#include "moe/io/shard_file.h"

#include <numeric>

#include "moe/io/checksum.h"

#include "tests/io/io_testing.h"

namespace moe {
namespace {

const std::string kVocabulary(32, 'a');

ShardFormat format_of(int64_t vocab_size, bool has_mask) {
  return {.id_bytes = shard_id_bytes(vocab_size),
          .vocab_size = vocab_size,
          .vocabulary = kVocabulary,
          .has_mask = has_mask};
}

std::vector<int32_t> counted(int64_t n, int32_t first) {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

TEST(ShardFile, SixteenBitsHoldAVocabularyOf65536) {
  EXPECT_EQ(shard_id_bytes(1), 2);
  EXPECT_EQ(shard_id_bytes(65536), 2);
  EXPECT_EQ(shard_id_bytes(65537), 4);
}

TEST(ShardFile, ReadsWhatWasWritten) {
  for (const int64_t vocab_size : {1000, 100'000})
    for (const bool has_mask : {false, true}) {
      const TempFolder folder;
      ShardWriter writer(real_fs(), folder.path(), "x", format_of(vocab_size, has_mask), 1 << 20);
      const std::vector<int32_t> a = counted(7, 3), b = counted(11, int32_t(vocab_size) - 11);
      const std::vector<uint8_t> learned = {0, 1, 1, 0, 0, 0, 1};
      writer.add_document(a, has_mask ? learned : std::vector<uint8_t>{});
      writer.add_document({});
      writer.add_document(b);
      const auto shards = writer.finish();
      ASSERT_EQ(shards.size(), 1u);
      EXPECT_EQ(shards[0].name, "x-00000.shard");
      EXPECT_EQ(shards[0].documents, 2);  // one without tokens is none
      EXPECT_EQ(shards[0].trained, has_mask ? 14 : 18);
      EXPECT_EQ(writer.n_documents(), 2);
      const ShardFile file(folder / shards[0].name);
      file.verify();
      EXPECT_EQ(file.n_tokens(), 18);
      EXPECT_EQ(file.format().vocab_size, vocab_size);
      EXPECT_EQ(file.format().vocabulary, kVocabulary);
      EXPECT_EQ(file.document_begin(1), 7);
      EXPECT_EQ(file.document_begin(2), 18);
      std::vector<int32_t> ids(18), want = a;
      want.insert(want.end(), b.begin(), b.end());
      file.read(0, ids);
      EXPECT_EQ(ids, want);
      for (int64_t t = 0; t < 18; ++t)
        EXPECT_EQ(file.trained(t), !has_mask || t >= 7 || learned[size_t(t)]) << t;
    }
}

TEST(ShardFile, ShardsStayBelowTheirLimitAndALongDocumentGoesOnInTheNext) {
  for (const bool has_mask : {false, true}) {
    const TempFolder folder;
    constexpr int64_t kLimit = 8192;
    ShardWriter writer(real_fs(), folder.path(), "x", format_of(60'000, has_mask), kLimit);
    const std::vector<int32_t> whole = counted(5000, 0);
    writer.add_document(counted(10, 0));
    writer.add_document(whole);  // longer than a shard
    for (int i = 0; i < 300; ++i) writer.add_document(counted(3, i));
    const auto shards = writer.finish();
    ASSERT_GE(shards.size(), 4u);
    std::vector<int32_t> all;
    int64_t begins = 0;
    for (size_t s = 0; s < shards.size(); ++s) {
      EXPECT_LE(shards[s].bytes, kLimit);
      EXPECT_EQ(uint64_t(shards[s].bytes), file_size(folder / shards[s].name));
      const ShardFile file(folder / shards[s].name);
      file.verify();
      std::vector<int32_t> ids(size_t(file.n_tokens()));
      file.read(0, ids);
      all.insert(all.end(), ids.begin(), ids.end());
      begins += file.n_documents() - file.begins_inside();
    }
    EXPECT_EQ(begins, 302);
    EXPECT_EQ(writer.n_documents(), 302);
    ASSERT_EQ(std::ssize(all), 5910);
    EXPECT_TRUE(std::equal(whole.begin(), whole.end(), all.begin() + 10));
    // A short document is never cut.
    EXPECT_FALSE(ShardFile(folder / shards.back().name).begins_inside());
  }
}

TEST(ShardFile, EveryDamagedByteIsFound) {
  const TempFolder folder;
  ShardWriter writer(real_fs(), folder.path(), "x", format_of(300, true), 1 << 20);
  const std::vector<uint8_t> learned = {0, 1, 0};
  writer.add_document(counted(3, 7), learned);
  const std::string good = folder / writer.finish()[0].name, bad = folder / "bad.shard";
  const std::string content = read_file(good);
  for (size_t i = 0; i < content.size(); ++i) {
    std::string changed = content;
    changed[i] = char(changed[i] ^ 0x10);
    put(bad, changed);
    EXPECT_THROW(ShardFile(bad).verify(), Error) << "byte " << i;
  }
  for (size_t size = 0; size < content.size(); size += size < 4000 ? 97 : 1) {
    put(bad, content.substr(0, size));
    EXPECT_THROW(ShardFile{bad}, Error) << size;
  }
  put(bad, content + "x");
  EXPECT_THROW(ShardFile{bad}, Error);
}

// Whoever writes a bad file on purpose can compute its checksums.
TEST(ShardFile, ALieWithRightChecksumsIsRefused) {
  const TempFolder folder;
  ShardWriter writer(real_fs(), folder.path(), "x", format_of(300, false), 1 << 20);
  writer.add_document(counted(4, 7));
  writer.add_document(counted(4, 7));
  const std::string good = folder / writer.finish()[0].name, bad = folder / "bad.shard";
  const auto refused = [&](uint64_t at, auto value, const std::string& what) {
    std::string content = read_file(good);
    std::memcpy(content.data() + at, &value, sizeof(value));
    const auto bytes = std::as_bytes(std::span(content));
    std::memcpy(content.data() + 104, xxh3_128_hex(bytes.subspan(4096)).data(), 32);
    const uint64_t hash = xxh3_64(bytes.first(4088));
    std::memcpy(content.data() + 4088, &hash, 8);
    put(bad, content);
    try {
      ShardFile(bad).verify();
      FAIL() << what;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
    }
  };
  refused(16, uint64_t{1} << 60, "cannot be");
  refused(16, uint64_t{4000}, "do not fit together");
  refused(24, uint64_t{0}, "cannot be");
  refused(24, uint64_t{3}, "do not fit together");
  refused(12, uint32_t{3}, "neither 2 nor 4");
  refused(80, uint64_t{8}, "is not in [0, 8)");
  refused(80, uint64_t{1} << 40, "not supported");
  refused(72, uint64_t{4096}, "do not fit together");
  refused(4096 + 16 + 8, uint64_t{9}, "document 0 begins at token 0, the next one at 9");
  refused(4096 + 16 + 8, uint64_t{0}, "document 0");
  refused(4096 + 16, uint64_t{1}, "do not cover");
}

}  // namespace
}  // namespace moe
