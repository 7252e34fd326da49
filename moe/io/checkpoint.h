// SPDX-License-Identifier: MIT
// Crash-safe checkpoint folders: run/checkpoints/ckpt-000123/. A save writes into a temporary
// folder, each file hashed and fsynced, then a manifest, then renames; whatever call of it fails or
// is the last one before a crash, the newest valid checkpoint is the old one or the new one, whole.
// What the files hold is the caller's affair. One writer at a time per run folder (the trainer
// holds a FileLock); readers need no lock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "moe/base/fs.h"
#include "moe/io/byte_sink.h"
#include "moe/io/manifest.h"
#include "moe/io/safetensors_writer.h"

namespace moe {

class CheckpointWriter {
 public:
  /// Makes run_folder/checkpoints/ckpt-<step>.tmp-<random>/ and clears away what an interrupted
  /// save left there.
  CheckpointWriter(Fs& fs, const std::string& run_folder, int64_t step);
  /// Without commit(): removes the temporary folder as far as the disk lets it.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Writes, hashes and fsyncs one file. After any Error the writer is spent: a file whose fsync
  /// failed is never tried again (the kernel may have dropped its pages), the next save starts a
  /// new folder.
  void add_file(const std::string& name, const ByteProducer& content);
  void add_file(const std::string& name, std::string_view content);
  /// stem.safetensors, or shards of at most max_shard_bytes and their index.
  void add_tensors(const std::string& stem, const std::vector<TensorSource>& tensors,
                   const std::map<std::string, std::string>& metadata, uint64_t max_shard_bytes);

  /// Manifest, fsync of the folder, rename, fsync of the parent; then the hint file `latest`; then
  /// removes the oldest checkpoints so that `keep` >= 1 whole ones stay, this one included. An
  /// older folder of the same step gives way. Returns the final path. An Error after the rename
  /// says that the checkpoint is in place.
  std::string commit(int keep);

 private:
  std::string path(std::string_view name) const;
  void clear_leftovers();
  void prune(int keep);

  Fs& fs_;
  std::string checkpoints_folder_, name_, temporary_, moved_aside_;
  Manifest manifest_;
  bool spent_ = false, committed_ = false;
};

/// What is wrong with one file of a checkpoint.
struct CheckpointProblem {
  std::string file;
  uint64_t offset = 0;  // first byte known to be affected (of a damaged tensor or block: its begin)
  std::string reason;
  /// Of a .safetensors file: the damaged ones, at most 64; where the manifest has no checksums of
  /// tensors, those that touch a damaged block of 1 MiB.
  std::vector<std::string> tensors;

  /// One line: file, offset, reason, tensors.
  std::string text() const;
};

/// Which files of a checkpoint matter; null: all.
using FileFilter = std::function<bool(const std::string& name)>;

/// Compares every file with the manifest, on all threads. Empty: valid. At most 64 problems are
/// listed. Never throws for a damaged checkpoint; reads each file once and allocates little.
std::vector<CheckpointProblem> verify_checkpoint(const std::string& folder,
                                                 const FileFilter& matters = {});

struct CheckpointFolder {
  std::string path;
  int64_t step = 0;
};
/// All folders run_folder/checkpoints/ckpt-<step>, valid or not, by ascending step.
std::vector<CheckpointFolder> list_checkpoints(const std::string& run_folder);

struct NewestCheckpoint {
  struct Skipped {
    std::string path, reason;
  };
  std::string path;  // "" when there is no valid checkpoint
  int64_t step = 0;
  std::vector<Skipped> skipped;  // newer ones that do not verify, newest first
};
/// Verifies from the newest to the oldest and stops at the first valid one. The file `latest` is a
/// hint for people and is not read.
NewestCheckpoint newest_valid_checkpoint(const std::string& run_folder,
                                         const FileFilter& matters = {});

}  // namespace moe
