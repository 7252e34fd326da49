// SPDX-License-Identifier: MIT
// A file system that fails on purpose, for the tests of everything that must survive it. It works
// on a real folder (so that reads see it) and keeps a model beside it of what a disk would still
// hold if the power went out now.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/base/fs.h"

namespace moe {

/// Thrown where the process "dies". Not an Error and not a std::exception, so that no handler in
/// between keeps it.
struct SimulatedCrash {};

/// The model: a file's data are durable once the file was synced, a folder's entries once the
/// folder was synced. What is not durable yet may be there after a power cut or not, entry by
/// entry; a rename is there as a whole or not. Not safe for several threads at once.
class FaultyFs : public Fs {
 public:
  /// root: an existing folder, whose content counts as durable. Every path given later must lie in
  /// it, spelt with the same prefix and without "..".
  explicit FaultyFs(std::string root);
  ~FaultyFs() override;

  /// Calls so far. Each function of Fs and WritableFile is one call; the first is number 1.
  int64_t n_calls() const { return n_calls_; }
  /// Call number `call` throws the Error of error_number. A write writes half of its bytes first;
  /// after a failed sync the file's data never become durable, as on Linux, which drops the pages
  /// that it could not write.
  void fail_at(int64_t call, int error_number);
  /// Call number `call` throws SimulatedCrash (a write after half of its bytes); it and all later
  /// calls do nothing. The real folder is then what a killed process leaves behind, materialise()
  /// what a power cut does.
  void crash_at(int64_t call);
  bool crashed() const { return crashed_; }

  /// Writes one possible content of root after a power cut at this moment into real_directory,
  /// which must not exist. Seed 0 keeps only what is durable, seed 1 everything; any other seed
  /// keeps some entries and cuts, or zeroes the end of, unsynced data.
  void materialise(const std::string& real_directory, uint64_t seed) const;

  std::unique_ptr<WritableFile> create(const std::string& path) override;
  std::unique_ptr<WritableFile> append(const std::string& path) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove_file(const std::string& path) override;
  void make_directory(const std::string& path) override;
  void remove_directory(const std::string& path) override;
  void sync_directory(const std::string& path) override;

 private:
  class File;
  using Inode = int;  // index into inodes_
  static constexpr Inode kNone = -1;
  using Entries = std::map<std::string, Inode>;
  struct InodeState {
    bool is_directory = false;
    std::string data, durable_data;
    bool truncated = false;    // since the last sync: the durable data are no prefix of data
    bool sync_failed = false;  // nothing becomes durable any more
    Entries entries, durable_entries;
  };
  /// One entry after a change: kNone when it was removed.
  struct Change {
    Inode directory;
    std::string name;
    Inode inode;
  };
  using Operation = std::vector<Change>;  // all of them or none

  /// Counts a call. False: the process is dead, do nothing. Throws when the call is to fail;
  /// half_first runs before.
  template <class HalfFirst>
  bool begin(std::string_view action, const std::string& path, HalfFirst half_first);
  bool begin(std::string_view action, const std::string& path);

  Inode add_inode(bool is_directory);
  void load(const std::string& path, Inode directory);
  std::pair<Inode, std::string> parent_and_name(const std::string& path) const;
  Inode find(const std::string& path) const;
  void change(Operation operation);
  std::unique_ptr<WritableFile> open(const std::string& path, bool truncate);
  std::string data_after_power_cut(Inode inode, uint64_t seed) const;

  std::string root_;
  std::vector<InodeState> inodes_;  // 0 is root
  std::vector<Operation> pending_;  // not durable yet, oldest first
  int64_t n_calls_ = 0, fail_call_ = 0, crash_call_ = 0;
  int error_number_ = 0;
  bool crashed_ = false;
};

}  // namespace moe
