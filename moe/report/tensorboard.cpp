// SPDX-License-Identifier: MIT
// The protobuf wire format by hand: a field is a varint (number << 3 | wire type) and its value;
// fields ascend and, as in every proto3 writer, a field outside a oneof that holds its default is
// left out.
#include "moe/report/tensorboard.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <optional>
#include <span>
#include <unistd.h>

#include "moe/base/error.h"
#include "moe/base/log.h"
#include "moe/base/utf8.h"
#include "moe/report/crc32c.h"

namespace moe {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr size_t kFlushBytes = 64 << 10;

enum class WireType : unsigned { varint = 0, fixed64 = 1, length_delimited = 2, fixed32 = 5 };

template <class T>
void put_raw(std::string& out, T value) {
  static_assert(std::endian::native == std::endian::little);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}

void put_key(std::string& out, unsigned field, WireType type) {
  put_varint(out, (field << 3) | static_cast<unsigned>(type));
}

void put_bytes(std::string& out, unsigned field, std::string_view bytes) {
  put_key(out, field, WireType::length_delimited);
  put_varint(out, bytes.size());
  out += bytes;
}

// Event {double wall_time = 1; int64 step = 2; oneof what {...}}: the fields before the oneof.
std::string event_head(double wall_time_seconds, int64_t step) {
  std::string out;
  if (std::bit_cast<uint64_t>(wall_time_seconds) != 0) {
    put_key(out, 1, WireType::fixed64);
    put_raw(out, wall_time_seconds);
  }
  if (step != 0) {
    put_key(out, 2, WireType::varint);
    put_varint(out, static_cast<uint64_t>(step));
  }
  return out;
}

// Event.file_version = 3. Readers purge orphaned steps only from version 2 on.
std::string version_event(double wall_time_seconds) {
  std::string out = event_head(wall_time_seconds, 0);
  put_bytes(out, 3, "brain.Event:2");
  return out;
}

// Event.session_log = 7; SessionLog.status = 1, START = 1.
std::string session_start_event(double wall_time_seconds, int64_t step) {
  std::string session_log;
  put_key(session_log, 1, WireType::varint);
  put_varint(session_log, 1);
  std::string out = event_head(wall_time_seconds, step);
  put_bytes(out, 7, session_log);
  return out;
}

// Event.summary = 5; Summary.value = 1; Value {string tag = 1; oneof {float simple_value = 2}}.
std::string scalar_event(std::string_view tag, float scalar, int64_t step,
                         double wall_time_seconds) {
  std::string value;
  if (!tag.empty()) put_bytes(value, 1, tag);
  put_key(value, 2, WireType::fixed32);
  put_raw(value, scalar);
  std::string summary;
  put_bytes(summary, 1, value);
  std::string out = event_head(wall_time_seconds, step);
  put_bytes(out, 5, summary);
  return out;
}

// A protobuf string must be UTF-8: Python's parser refuses the record otherwise.
std::string valid_utf8(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    out += point.value != kInvalidByte ? text.substr(i, point.size) : "\xef\xbf\xbd";
    i += point.size;
  }
  return out;
}

std::string this_host() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

// Part of a file name: letters, digits, "-", "_" and "." only.
std::string file_name_part(std::string text) {
  for (char& c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && c != '-' && c != '_' && c != '.') c = '_';
  }
  return text.empty() ? "localhost" : text;
}

// The second after the newest events file of the folder, or `seconds` if that is later. Ten digits
// sort by time.
int64_t time_after_all(const std::string& folder, int64_t seconds) {
  constexpr size_t kTimeDigits = 10;
  if (!is_directory(folder)) return seconds;
  for (const std::string& name : list_directory(folder)) {
    if (!starts_with(name, kPrefix) || name.size() < kPrefix.size() + kTimeDigits) continue;
    int64_t time = 0;
    bool digits = true;
    for (const char c : name.substr(kPrefix.size(), kTimeDigits)) {
      digits = digits && c >= '0' && c <= '9';
      time = 10 * time + (c - '0');
    }
    if (digits) seconds = std::max(seconds, time + 1);
  }
  return seconds;
}

template <class T>
T get_raw(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// The varint at `at`, which moves behind it; nothing where it is broken.
std::optional<uint64_t> get_varint(std::string_view bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

// Whether an event is a summary (scalars) of first_step or later. What cannot be read is kept.
bool is_summary_from(std::string_view event, int64_t first_step) {
  int64_t step = 0;
  bool is_summary = false;
  for (size_t at = 0; at < event.size();) {
    const auto key = get_varint(event, at);
    if (!key) return false;
    switch (WireType(*key & 7)) {
      case WireType::varint: {
        const auto value = get_varint(event, at);
        if (!value) return false;
        if (*key >> 3 == 2) step = static_cast<int64_t>(*value);
        break;
      }
      case WireType::fixed64: at += 8; break;
      case WireType::fixed32: at += 4; break;
      case WireType::length_delimited: {
        const auto n = get_varint(event, at);
        if (!n || *n > event.size() - at) return false;
        at += *n;
        is_summary = is_summary || *key >> 3 == 5;
        break;
      }
      default: return false;
    }
  }
  return is_summary && step >= first_step;
}

// The whole records of a file that are to stay.
std::string records_before(std::string_view file, int64_t first_step) {
  constexpr size_t kHead = 12, kTail = 4;  // length and its CRC; CRC of the bytes
  std::string kept;
  for (size_t at = 0; file.size() - at >= kHead + kTail;) {
    const auto n = get_raw<uint64_t>(file, at);
    if (get_raw<uint32_t>(file, at + 8) != masked_crc32c(file.substr(at, 8)) ||
        n > file.size() - at - kHead - kTail)
      break;
    const std::string_view event = file.substr(at + kHead, n);
    if (get_raw<uint32_t>(file, at + kHead + n) != masked_crc32c(event)) break;
    if (!is_summary_from(event, first_step)) kept += file.substr(at, kHead + n + kTail);
    at += kHead + n + kTail;
  }
  return kept;
}

}  // namespace

void drop_events_from(Fs& fs, const std::string& folder, int64_t first_step) {
  for (const std::string& name : list_directory(folder)) {
    if (!starts_with(name, kPrefix)) continue;
    const std::string path = join_path(folder, name), file = read_file(path),
                      kept = records_before(file, first_step);
    if (kept != file) write_file_atomic(fs, path, kept);
  }
}

TensorBoardWriter::TensorBoardWriter(Fs& fs, const std::string& folder,
                                     const TensorBoardOptions& options) {
  const double now = options.wall_time_seconds;
  MOE_CHECK(now >= 0 && now < 1e10, "[tensorboard] the time is ", now,
            " s, must be Unix time in [0, 1e10)");
  const int64_t time = time_after_all(folder, static_cast<int64_t>(now));
  const std::string host = file_name_part(options.host.empty() ? this_host() : options.host);
  const int64_t pid = options.pid >= 0 ? options.pid : getpid();
  path_ = join_path(folder, fmt::format("{}{:010d}.{}.{}.0", kPrefix, time, host, pid));
  file_ = fs.create(path_);
  put_record(version_event(now));
  if (options.resume_at_step) put_record(session_start_event(now, *options.resume_at_step));
  flush();
}

TensorBoardWriter::~TensorBoardWriter() {
  if (file_ == nullptr) return;
  try {
    flush();
    file_->close();
  } catch (const std::exception& error) {
    log_warning(error.what());
  }
}

// Runs a call on the open file; a failure closes it for good, because a record may have been cut in
// half.
template <class Call>
void TensorBoardWriter::guard(Call call) {
  MOE_CHECK(file_ != nullptr, "[tensorboard] ", path_, ": closed after a write error");
  try {
    call(*file_);
  } catch (...) {
    file_.reset();
    buffer_.clear();
    throw;
  }
}

// Record: length (u64), masked CRC of the length's 8 bytes, the bytes, masked CRC of the bytes.
void TensorBoardWriter::put_record(std::string_view event) {
  std::string length;
  put_raw(length, static_cast<uint64_t>(event.size()));
  buffer_ += length;
  put_raw(buffer_, masked_crc32c(length));
  buffer_ += event;
  put_raw(buffer_, masked_crc32c(event));
}

void TensorBoardWriter::scalar(std::string_view tag, float value, int64_t step,
                               double wall_time_seconds) {
  MOE_CHECK(file_ != nullptr, "[tensorboard] ", path_, ": closed after a write error");
  put_record(scalar_event(valid_utf8(tag), value, step, wall_time_seconds));
  if (buffer_.size() >= kFlushBytes) flush();
}

void TensorBoardWriter::flush() {
  guard([&](WritableFile& file) {
    if (!buffer_.empty()) file.write(std::as_bytes(std::span(buffer_)));
    buffer_.clear();
  });
}

void TensorBoardWriter::sync() {
  flush();
  guard([](WritableFile& file) { file.sync(); });
}

}  // namespace moe
