// SPDX-License-Identifier: MIT
// TensorBoard event files, so that a run opens in TensorBoard (and in W&B, which reads the same
// files) without TensorFlow or protobuf. Records: tensorflow/core/lib/io/record_writer.cc;
// messages: event.proto, summary.proto.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "moe/base/fs.h"

namespace moe {

struct TensorBoardOptions {
  double wall_time_seconds = 0;  // Unix time: names the file and dates its first records
  /// Set when a run resumes: the first step that will be logged again. TensorBoard then drops what
  /// earlier files say about this step and later ones (steps after the last checkpoint that the
  /// crash undid).
  std::optional<int64_t> resume_at_step = {};
  std::string host = {};  // "": this machine's name
  int64_t pid = -1;       // -1: this process
};

/// Takes out of a folder's event files what they say about first_step and later ones, which a
/// resumed run logs again, and half a record at a file's end: the files together then hold each
/// step once, for readers that do not know of resumed runs. A damaged file keeps what comes before
/// the damage.
void drop_events_from(Fs& fs, const std::string& folder, int64_t first_step);

/// Writes one new file "events.out.tfevents.<time>.<host>.<pid>.0" into a folder. TensorBoard reads
/// a folder's files in order of their names, so <time> is pushed past every events file that is
/// there: a resumed run always follows.
///
/// Records gather in memory; they reach the file when 64 KiB have gathered, at flush(), sync() and
/// destruction. After a failed write (an Error, as from Fs) the file may end in half a record,
/// which readers skip; the writer then refuses every further call with an Error, and nothing more
/// is written.
class TensorBoardWriter {
 public:
  /// folder must exist.
  TensorBoardWriter(Fs& fs, const std::string& folder, const TensorBoardOptions& options);
  /// Flushes and closes; a failure is a warning on stderr.
  ~TensorBoardWriter();
  TensorBoardWriter(const TensorBoardWriter&) = delete;
  TensorBoardWriter& operator=(const TensorBoardWriter&) = delete;

  /// One point of the curve `tag` ("train/loss"; "/" groups). Not a valid UTF-8 tag: broken bytes
  /// become U+FFFD.
  void scalar(std::string_view tag, float value, int64_t step, double wall_time_seconds);
  /// What is gathered goes to the file; another process sees it.
  void flush();
  /// flush(), then fsync.
  void sync();
  const std::string& path() const { return path_; }

 private:
  void put_record(std::string_view event);
  template <class Call>
  void guard(Call call);

  std::string path_;
  std::unique_ptr<WritableFile> file_;  // null after a failure
  std::string buffer_;
};

}  // namespace moe
