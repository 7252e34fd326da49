// SPDX-License-Identifier: MIT
// The text column of a Parquet file (apache/parquet-format 2.x): flat, required or optional, plain
// or dictionary encoded, stored as it is or compressed with Snappy, gzip or Zstandard; pages of
// both versions. That is what data sets of text are published in; anything else is refused by its
// name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moe {

/// Whether bytes begin as such a file does.
bool is_parquet(std::string_view bytes);

/// Each row's text, nothing where it is null. Throws Error for what is damaged or not supported,
/// when there is no such column (naming those there are), and when the rows take more than
/// max_bytes of memory: a few bytes of a file may claim any number of them.
std::vector<std::optional<std::string>> read_parquet_text(std::string_view bytes,
                                                          const std::string& column,
                                                          uint64_t max_bytes,
                                                          const std::string& what);

}  // namespace moe
