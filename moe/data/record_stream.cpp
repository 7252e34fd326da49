// SPDX-License-Identifier: MIT
#include "moe/data/record_stream.h"

#include <algorithm>

#include "moe/base/error.h"
#include "moe/base/log.h"
#include "moe/base/utf8.h"

namespace moe {
namespace {

constexpr size_t kPiece = size_t{256} << 10;
constexpr size_t kMaxLine = size_t{256} << 20;
constexpr size_t kMaxBadLines = 20;  // that are told one by one

}  // namespace

TextReader::TextReader(const std::string& path, bool check)
    : what_("[data] " + printable(path)), source_(path), check_(check) {}

double TextReader::done() const {
  return double(source_.bytes_read()) / double(std::max<uint64_t>(1, source_.file_bytes()));
}

bool TextReader::read(std::string& to) {
  buffer_.resize(kPiece);
  size_t n = held_.copy(buffer_.data(), held_.size());
  held_.clear();
  for (size_t more = 1; n < buffer_.size() && more > 0; n += more)
    more = source_.read(std::span(buffer_).subspan(n));
  const bool last = n < buffer_.size();
  std::string_view piece(buffer_.data(), n);
  if (first_ && starts_with(piece, "\xEF\xBB\xBF")) piece.remove_prefix(3);
  first_ = false;
  if (!last) {  // a character that is cut waits for its end
    size_t cut = piece.size();
    for (size_t back = 1; back <= 3 && back <= piece.size(); ++back) {
      const auto byte = static_cast<uint8_t>(piece[piece.size() - back]);
      if ((byte & 0xC0) == 0x80) continue;
      const size_t size = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
      if (size > back) cut = piece.size() - back;
      break;
    }
    held_ = piece.substr(cut);
    piece = piece.substr(0, cut);
  }
  if (piece.empty()) return false;
  const size_t bad =
      check_ ? std::min(first_invalid_utf8(piece), piece.find('\0')) : std::string::npos;
  if (bad != std::string::npos) {
    const int64_t line =
        1 + lines_ + std::count(piece.begin(), piece.begin() + std::ptrdiff_t(bad), '\n');
    throw Error(str(what_, ": byte ", bytes_ + int64_t(bad), " (line ", line,
                    piece[bad] == '\0' ? ") is NUL, which no text holds; is this a binary file?"
                                       : ") is not UTF-8 text; convert the file (iconv -t UTF-8)"));
  }
  bytes_ += std::ssize(piece);
  lines_ += std::count(piece.begin(), piece.end(), '\n');
  to += piece;
  return true;
}

namespace {

/// Hands records over one by one and does with wrong ones as asked.
class Stream {
 public:
  Stream(const std::string& path, OnError on_error, const std::function<bool(Record&&)>& visit)
      : what_("[data] " + printable(path)), on_error_(on_error), visit_(visit) {}

  /// Whether to go on.
  bool add_line(std::string_view line, int64_t number) {
    if (ends_with(line, "\r")) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) return true;
    Record record;
    try {
      check_record_text(line);
      const Json json = parse_json(line, "JSON", 16);
      MOE_CHECK(json.is_object(), "not a JSON object");
      std::string form;
      record = parse_record(json.as_object(), form);
      if (out_.form.empty()) out_.form = form;
    } catch (const Error& error) {
      wrong(number, error.what());
      return true;
    }
    record.line = number;
    ++out_.n_good;
    return visit_(std::move(record));
  }
  void wrong(int64_t line, const std::string& why) {
    const std::string problem = str(what_, " line ", line, ": ", why);
    if (on_error_ == OnError::stop)
      throw Error(problem + "; mend it, or leave such records out with on-error skip");
    if (++out_.n_bad > int64_t(kMaxBadLines)) return;
    out_.bad.push_back(str("line ", line, ": ", why));
    if (on_error_ == OnError::report) log_warning(problem);
  }
  RecordCounts finish() {
    if (out_.n_bad > 0)
      log_warning(str(what_, ": ", out_.n_bad, " records are wrong and left out, ", out_.n_good,
                      " are good"));
    MOE_CHECK(
        out_.n_good > 0, what_,
        out_.n_bad > 0 ? ": no record of it is good, the first: " : ": the file holds no record",
        out_.bad.empty() ? "" : out_.bad.front());
    return std::move(out_);
  }
  RecordCounts ended_early() { return std::move(out_); }

 private:
  std::string what_;
  OnError on_error_;
  const std::function<bool(Record&&)>& visit_;
  RecordCounts out_;
};

std::string_view without_compression(std::string_view path) {
  for (const std::string_view ending : {".gz", ".zst"})
    if (ends_with(path, ending)) return path.substr(0, path.size() - ending.size());
  return path;
}

/// Whether the file holds one JSON object a line. Many name such a file .json, too.
bool holds_json_lines(const std::string& path) {
  const std::string_view name = without_compression(path);
  if (ends_with(name, ".jsonl") || ends_with(name, ".ndjson")) return true;
  if (!ends_with(name, ".json")) return false;
  TextReader reader(path, false);
  std::string text;
  size_t first = std::string::npos;
  while (first == std::string::npos && reader.read(text)) first = text.find_first_not_of(" \t\r\n");
  return first != std::string::npos && text[first] == '{';
}

RecordCounts stream_lines(const std::string& path, Stream& stream,
                          const std::function<void(double)>& done) {
  TextReader reader(path, false);
  std::string text;
  int64_t number = 0;
  size_t searched = 0;
  bool too_long = false, empty = true;
  while (reader.read(text)) {
    empty = false;
    size_t begin = 0;
    for (size_t end; (end = text.find('\n', std::max(begin, searched))) != std::string::npos;
         begin = end + 1) {
      ++number;
      searched = 0;
      if (too_long)
        too_long = false;
      else if (!stream.add_line(std::string_view(text).substr(begin, end - begin), number))
        return stream.ended_early();
    }
    text.erase(0, begin);
    searched = text.size();
    if (text.size() > kMaxLine) {
      if (!too_long) stream.wrong(number + 1, str("a line of more than ", human_bytes(kMaxLine)));
      too_long = true;
      text.clear();
      searched = 0;
    }
    if (done) done(reader.done());
  }
  MOE_CHECK(!empty, "[data] ", printable(path), ": the file is empty");
  if (!text.empty() && !too_long && !stream.add_line(text, number + 1)) return stream.ended_early();
  return stream.finish();
}

}  // namespace

RecordCounts stream_records(const std::string& path, OnError on_error,
                            const std::function<bool(Record&&)>& visit,
                            const std::function<void(double)>& done) {
  if (holds_json_lines(path)) {
    Stream stream(path, on_error, visit);
    return stream_lines(path, stream, done);
  }
  RecordFile file = read_records(path, on_error);
  RecordCounts out{.form = file.form, .n_bad = file.n_bad, .bad = std::move(file.bad)};
  for (Record& record : file.records) {
    ++out.n_good;
    if (!visit(std::move(record))) break;
    if (done) done(double(out.n_good) / double(file.records.size()));
  }
  return out;
}

}  // namespace moe
