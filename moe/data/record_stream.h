// SPDX-License-Identifier: MIT
// Texts and records read from their begin to their end, for files that need not fit into memory.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "moe/base/byte_source.h"
#include "moe/data/records.h"

namespace moe {

/// A file of UTF-8 text in pieces, decompressed, without a byte order mark.
class TextReader {
 public:
  /// check false: bytes of any kind.
  explicit TextReader(const std::string& path, bool check = true);
  /// Appends the next piece, which ends where a character ends; false at the end of the file.
  /// Throws Error for bytes that are no UTF-8 and for NUL bytes, as read_text() does.
  bool read(std::string& to);
  /// Share of the file that was read.
  double done() const;

 private:
  std::string what_;
  ByteSource source_;
  std::vector<char> buffer_;
  std::string held_;  // the begin of a character whose end is still to come
  int64_t bytes_ = 0, lines_ = 0;
  bool first_ = true, check_;
};

struct RecordCounts {
  std::string form = {};  // of the first record
  int64_t n_good = 0, n_bad = 0;
  std::vector<std::string> bad = {};  // the first of them: "line 3: ..."
};

/// What read_records() reads, one record after another: of JSON lines no more than one is in
/// memory, of other kinds of file all of it. visit returns false to end early; done, when given, is
/// told the share of the file that is read.
RecordCounts stream_records(const std::string& path, OnError on_error,
                            const std::function<bool(Record&&)>& visit,
                            const std::function<void(double)>& done = {});

}  // namespace moe
