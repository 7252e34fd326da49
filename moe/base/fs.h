// SPDX-License-Identifier: MIT
// The only place that touches files. Everything that writes goes through `Fs`, so a test can put a
// back end below it that fails, stops or reorders at any call. Paths are UTF-8 strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moe {

/// An open file being written. Destroying it without close() abandons what was not synced.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual void write(std::span<const std::byte> bytes) = 0;  // all of them, or throws
  virtual void sync() = 0;  // fsync; after a failure the file must not be reused
  virtual void close() = 0;
};

/// System calls that change the file system, one virtual each. Every failure is an Error with
/// ExitCode::io (a full disk included) that names the path and the reason. Reads go to the real
/// file system.
class Fs {
 public:
  virtual ~Fs() = default;
  virtual std::unique_ptr<WritableFile> create(
      const std::string& path) = 0;  // truncates an existing file
  virtual std::unique_ptr<WritableFile> append(const std::string& path) = 0;
  virtual void rename(const std::string& from, const std::string& to) = 0;
  virtual void remove_file(const std::string& path) = 0;     // no error when absent
  virtual void make_directory(const std::string& path) = 0;  // one level; no error when present
  virtual void remove_directory(
      const std::string& path) = 0;  // must be empty; no error when absent
  virtual void sync_directory(const std::string& path) = 0;
};

/// The POSIX back end.
Fs& real_fs();

/// Throws the Error of a failed system call: "[fs] cannot write runs/x: No space left on device;
/// the disk is full, ...". Back ends use it, so that an injected failure reads like a real one.
[[noreturn]] void throw_io_error(std::string_view action, const std::string& path,
                                 int error_number);

// ---- What the rest of the program calls
// -----------------------------------------------------------------------
bool exists(const std::string& path);
bool is_directory(const std::string& path);
uint64_t file_size(const std::string& path);
/// Names (not paths) in a folder, sorted; "." and ".." left out.
std::vector<std::string> list_directory(const std::string& path);
std::string join_path(std::string_view folder, std::string_view name);
std::string file_name(std::string_view path);
std::string parent_path(std::string_view path);

/// The whole file. Throws Error (ExitCode::failure when it does not exist, ::io otherwise) or when
/// larger than max_bytes.
std::string read_file(const std::string& path, uint64_t max_bytes = uint64_t{1} << 40);
void make_directories(Fs& fs, const std::string& path);
void remove_all(Fs& fs, const std::string& path);
/// Where a file that is replaced as a whole really lies: the end of a chain of symbolic links,
/// which stay. in_place: there is something that is no regular file (a device, a pipe), which can
/// only be written into; a rename would put a file where it was.
struct WriteTarget {
  std::string path;
  bool in_place = false;
};
WriteTarget write_target(const std::string& path);

/// Temporary file beside the target (see write_target), fsync, rename, fsync of the folder: readers
/// see the old or the new content.
void write_file_atomic(Fs& fs, const std::string& path, std::string_view content);

/// An exclusive advisory lock (flock) on a file, held for the object's life and released by the
/// kernel on any exit.
class FileLock {
 public:
  /// Creates the file if needed. Throws Error with ExitCode::try_again when another process holds
  /// the lock.
  explicit FileLock(const std::string& path);
  ~FileLock();
  FileLock(FileLock&&) noexcept;
  FileLock& operator=(FileLock&&) noexcept;

 private:
  int fd_ = -1;
};

}  // namespace moe
