// SPDX-License-Identifier: MIT
// A token shard and the list of shards beside it. Both are sealed with the right checksums first: a
// fuzzer cannot guess them, whoever writes a malicious file can compute them.
#include <algorithm>
#include <cstring>
#include <vector>

#include "moe/data/prepared_data.h"
#include "moe/io/checksum.h"
#include "moe/io/shard_file.h"

#include "fuzz/memory_file.h"

namespace {

constexpr size_t kHeader = 4096, kContentHash = 104, kHeaderHash = 4088;

void seal(std::string& shard) {
  if (shard.size() < kHeader) return;
  const auto bytes = std::as_bytes(std::span(shard));
  std::memcpy(shard.data() + kContentHash, moe::xxh3_128_hex(bytes.subspan(kHeader)).data(), 32);
  const uint64_t hash = moe::xxh3_64(bytes.first(kHeaderHash));
  std::memcpy(shard.data() + kHeaderHash, &hash, sizeof(hash));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(moe::fuzz::text(data, size));
  if (text.starts_with("{"))
    return moe::fuzz::read([&] {
      text +=
          ",\n  \"xxh3_128\": \"" + moe::xxh3_128_hex(std::as_bytes(std::span(text))) + "\"\n}\n";
      const moe::PreparedInfo info = moe::parse_prepared_info(text, "[fuzz]");
      const std::string again = moe::prepared_info_text(info);
      moe::fuzz::require(moe::prepared_info_text(moe::parse_prepared_info(again, "[fuzz]")) ==
                         again);
    });
  // The header is mostly zeros: the input holds its first bytes, then what follows it.
  constexpr size_t kGiven = 104;
  if (text.size() > kGiven) text.insert(kGiven, kHeader - kGiven, '\0');
  seal(text);
  return moe::fuzz::read([&] {
    const moe::fuzz::MemoryFile file(text);
    const moe::ShardFile shard(file.path());
    shard.verify();
    std::vector<int32_t> ids(size_t(std::min<int64_t>(shard.n_tokens(), 64)));
    shard.read(shard.n_tokens() - std::ssize(ids), ids);
    for (int64_t d = 0; d < shard.n_documents(); ++d)
      moe::fuzz::require(shard.document_begin(d) < shard.document_begin(d + 1));
    shard.trained(shard.n_tokens() - 1);
  });
}
