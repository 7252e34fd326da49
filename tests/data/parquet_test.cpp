// SPDX-License-Identifier: MIT
#include "moe/data/parquet.h"

#include <gtest/gtest.h>

#include "moe/base/json.h"
#include "moe/base/rng.h"
#include "moe/data/records.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

std::string golden(const std::string& name) {
  return join_path(join_path(MOE_GOLDEN_DIR, "parquet"), name);
}

using Rows = std::vector<std::optional<std::string>>;

Rows expected(const char* key) {
  const Json json = read_json(golden("rows.json"), "rows");
  Rows out;
  for (const Json& row : json.as_object().at(key).as_array())
    out.push_back(row.is_null() ? std::nullopt
                                : std::optional(std::string(std::string_view(row.as_string()))));
  return out;
}

Rows read(const std::string& bytes) { return read_parquet_text(bytes, "text", 1 << 20, "[test]"); }

TEST(Parquet, EveryCodecPageVersionAndEncodingGivesTheRows) {
  const Rows nullable = expected("nullable");
  for (const char* codec : {"none", "snappy", "gzip", "zstd"})
    for (const char* version : {"1", "2"})
      EXPECT_EQ(read(read_file(golden(str("nullable-", codec, "-v", version, ".parquet")))),
                nullable)
          << codec << version;
  EXPECT_EQ(read(read_file(golden("required-plain.parquet"))), expected("required"));
}

TEST(Parquet, WhatIsNotSupportedIsNamed) {
  EXPECT_NE(error_of([] { read(read_file(golden("refused-brotli.parquet"))); }).find("Brotli"),
            std::string::npos);
  EXPECT_NE(error_of([] { read(read_file(golden("refused-delta.parquet"))); }).find("encoding 7"),
            std::string::npos);
  const std::string good = read_file(golden("nullable-snappy-v1.parquet"));
  EXPECT_NE(error_of([&] {
              read_parquet_text(good, "body", 1 << 20, "[test]");
            }).find("there are id, meta, text"),
            std::string::npos);
  EXPECT_NE(
      error_of([&] { read_parquet_text(good, "meta", 1 << 20, "[test]"); }).find("no plain texts"),
      std::string::npos);
  EXPECT_NE(error_of([&] { read_parquet_text(good, "text", 1000, "[test]"); }).find("more than"),
            std::string::npos);
}

TEST(Parquet, DamagedFilesEndInOneErrorOrInRows) {
  for (const char* name :
       {"nullable-snappy-v1.parquet", "nullable-zstd-v2.parquet", "required-plain.parquet"}) {
    const std::string good = read_file(golden(name));
    for (size_t n = 0; n < good.size(); n += 7)
      EXPECT_NE(error_of([&] { read(good.substr(0, n)); }), "") << name << " cut at " << n;
    const RngStream draws(1, 0, name);
    for (int64_t i = 0; i < 3000; ++i) {
      std::string bad = good;
      for (int64_t k = 0; k < 3; ++k) {
        // Half of the changes in the footer, where lengths and offsets stand.
        const uint64_t span = k % 2 == 0 ? bad.size() : std::min<uint64_t>(bad.size(), 600);
        bad[bad.size() - 1 - draws.below(span, i, 2 * k)] = char(draws.below(256, i, 2 * k + 1));
      }
      error_of([&] { read(bad); });
    }
  }
}

TEST(Parquet, IsReadAsRecords) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "x.parquet", read_file(golden("required-plain.parquet")));
  const RecordFile file = read_records(folder / "x.parquet", OnError::stop);
  EXPECT_EQ(file.form, "text");
  EXPECT_EQ(file.records.size(), 340u);
  EXPECT_EQ(file.records[300].text, "only 0");
  EXPECT_EQ(file.records[300].line, 301);
  write_file_atomic(real_fs(), folder / "y.parquet", read_file(golden("nullable-none-v1.parquet")));
  EXPECT_NE(error_of([&] { read_records(folder / "y.parquet", OnError::stop); }).find("line"),
            std::string::npos);
  EXPECT_GT(read_records(folder / "y.parquet", OnError::skip).n_bad, 0);
}

}  // namespace
}  // namespace moe
