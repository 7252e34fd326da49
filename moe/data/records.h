// SPDX-License-Identifier: MIT
// Training data in the files that people have: plain text, JSON lines, a JSON list, CSV and TSV,
// each also as .gz or .zst. A record is a text or a conversation; conversations come in the forms
// of Alpaca, ShareGPT, OpenAI and MiniMind, or as question and answer, and leave as OpenAI's
// messages.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "moe/base/json.h"

namespace moe {

struct Record {
  std::string text = {};    // where it is a text
  JsonArray messages = {};  // where it is a conversation: {"role", "content", ...}
  Json tools = nullptr;
  // Of exams, from fields of the same names: what it is about, and what an answer must hold.
  std::string subject = {};
  std::vector<std::string> expect = {};
  int64_t line = 0;  // of the file, where the record begins
  bool is_text() const { return messages.empty(); }
};

enum class OnError { stop, skip, report };
/// "stop", "skip", "report"; throws Error (usage).
OnError parse_on_error(const std::string& name);

struct RecordFile {
  std::vector<Record> records;
  std::string form;   // of the first record: "text", "alpaca", "sharegpt", "messages" ...
  int64_t n_bad = 0;  // left out
  std::vector<std::string> bad;  // the first of them: "line 3: ..."
};

/// Whether the name (without .gz or .zst) is one of a file of records: .jsonl, .ndjson, .json,
/// .csv, .tsv, .parquet (a column text); any other holds one text.
bool is_record_file(std::string_view path);

/// .txt, .txt.gz, .txt.zst
bool is_text_file(std::string_view path);

/// All records of a file. stop: throws Error at the first that is wrong, naming file, line and
/// field; skip and report: they are counted, and with report written to the log too. A text is
/// decompressed, its byte order mark dropped. Throws Error for what is wrong with the file as a
/// whole.
RecordFile read_records(const std::string& path, OnError on_error);

/// One JSON record. Throws Error naming the field.
Record parse_record(const JsonObject& object, std::string& form);

/// Rows of a CSV file (RFC 4180), or with '\t' of a TSV: fields and the line where each row begins.
struct CsvRow {
  std::vector<std::string> fields;
  int64_t line;
};
std::vector<CsvRow> parse_csv(std::string_view text, char separator, const std::string& what);

/// Throws Error, without the file's name, where a line or field is no UTF-8 or holds NUL.
void check_record_text(std::string_view text);

/// A whole file as UTF-8 text: decompressed, without a byte order mark. Throws Error for bytes that
/// are no UTF-8 and for NUL bytes, which text does not have.
std::string read_text(const std::string& path);

}  // namespace moe
