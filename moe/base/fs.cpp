// SPDX-License-Identifier: MIT
// The POSIX back end of Fs, and the functions that the program calls. Interrupted calls are
// repeated, short writes continued, and every failure names the path and the system's reason.
#include "moe/base/fs.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "moe/base/error.h"
#include "moe/base/str.h"

namespace moe {
namespace {

/// Repeats a system call that a signal interrupted.
template <class Call>
auto retry(Call call) {
  while (true) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

/// A file descriptor that closes itself; for reading, where a failed close loses nothing.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

int open_retrying(const std::string& path, int flags) {
  return retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); });
}

class PosixFile : public WritableFile {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  void write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = retry([&] { return ::write(fd_.get(), bytes.data(), bytes.size()); });
      if (n <= 0) throw_io_error("write", path_, n < 0 ? errno : EIO);
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
  }

  void sync() override {
    if (retry([&] { return ::fsync(fd_.get()); }) != 0) throw_io_error("sync", path_, errno);
  }

  void close() override {
    // Not repeated on EINTR: Linux has released the descriptor by then.
    if (::close(fd_.release()) != 0 && errno != EINTR) throw_io_error("close", path_, errno);
  }

 private:
  Fd fd_;
  std::string path_;
};

class PosixFs : public Fs {
 public:
  std::unique_ptr<WritableFile> create(const std::string& path) override {
    return open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
  }
  std::unique_ptr<WritableFile> append(const std::string& path) override {
    return open_file(path, O_WRONLY | O_CREAT | O_APPEND);
  }
  void rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0)
      throw_io_error("rename " + printable(from) + " to", to, errno);
  }
  void remove_file(const std::string& path) override {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw_io_error("remove", path, errno);
  }
  void make_directory(const std::string& path) override {
    if (::mkdir(path.c_str(), 0777) == 0) return;
    const int error_number = errno;
    if (error_number == EEXIST && is_directory(path)) return;
    throw_io_error("make the folder", path, error_number);
  }
  void remove_directory(const std::string& path) override {
    if (::rmdir(path.c_str()) != 0 && errno != ENOENT)
      throw_io_error("remove the folder", path, errno);
  }
  void sync_directory(const std::string& path) override {
    const std::string& target = path.empty() ? kHere : path;
    const Fd fd(open_retrying(target, O_RDONLY | O_DIRECTORY));
    if (fd.get() < 0) throw_io_error("open the folder", target, errno);
    if (retry([&] { return ::fsync(fd.get()); }) == 0) return;
    // File systems that cannot sync a folder (some network and FUSE ones) say EINVAL; nothing more
    // can be done there.
    if (errno != EINVAL) throw_io_error("sync the folder", target, errno);
  }

 private:
  inline static const std::string kHere = ".";

  static std::unique_ptr<WritableFile> open_file(const std::string& path, int flags) {
    const int fd = open_retrying(path, flags);
    if (fd < 0) throw_io_error("create", path, errno);
    return std::make_unique<PosixFile>(fd, path);
  }
};

struct stat stat_or_throw(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) == 0) return info;
  if (errno == ENOENT) throw Error(str("[fs] ", printable(path), " does not exist"));
  throw_io_error("read", path, errno);
}

}  // namespace

void throw_io_error(std::string_view action, const std::string& path, int error_number) {
  std::string_view hint;
  switch (error_number) {
    case ENOSPC: hint = "; the disk is full, free some space or choose another folder"; break;
    case EDQUOT:
      hint = "; the disk quota is used up, free some space or choose another folder";
      break;
    case EACCES:
    case EPERM:
    case EROFS: hint = "; choose a folder that you may write to, or change its permissions"; break;
    case EFBIG: hint = "; raise the limit with `ulimit -f`"; break;
    case EMFILE: hint = "; raise the limit with `ulimit -n`"; break;
    default: break;
  }
  throw Error(str("[fs] cannot ", action, ' ', printable(path), ": ",
                  std::generic_category().message(error_number), hint),
              ExitCode::io);
}

Fs& real_fs() {
  static PosixFs fs;
  return fs;
}

bool exists(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

bool is_directory(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

uint64_t file_size(const std::string& path) {
  return static_cast<uint64_t>(stat_or_throw(path).st_size);
}

std::vector<std::string> list_directory(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory && errno == ENOENT) throw Error(str("[fs] ", printable(path), " does not exist"));
  if (!directory) throw_io_error("list", path, errno);
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) throw_io_error("list", path, errno);
  std::sort(names.begin(), names.end());
  return names;
}

std::string join_path(std::string_view folder, std::string_view name) {
  if (folder.empty() || name.starts_with('/')) return std::string(name);
  return str(folder, folder.ends_with('/') ? "" : "/", name);
}

std::string file_name(std::string_view path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string_view::npos) return path.empty() ? "" : "/";
  path = path.substr(0, end + 1);
  return std::string(path.substr(path.rfind('/') + 1));  // npos + 1 is 0
}

std::string parent_path(std::string_view path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string_view::npos) return std::string(path.substr(0, 1));
  const size_t slash = path.substr(0, end + 1).rfind('/');
  if (slash == std::string_view::npos) return "";
  const size_t last = path.find_last_not_of('/', slash);
  return last == std::string_view::npos ? "/" : std::string(path.substr(0, last + 1));
}

std::string read_file(const std::string& path, uint64_t max_bytes) {
  const Fd fd(open_retrying(path, O_RDONLY));
  if (fd.get() < 0 && errno == ENOENT)
    throw Error(str("[fs] ", printable(path), " does not exist"));
  if (fd.get() < 0) throw_io_error("open", path, errno);
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) throw_io_error("read", path, errno);
  if (S_ISDIR(info.st_mode))
    throw Error(str("[fs] ", printable(path), " is a folder, expected a file"));
  const auto check_size = [&](uint64_t size) {
    if (size > max_bytes)
      throw Error(str("[fs] ", printable(path), " has ", S_ISREG(info.st_mode) ? "" : "at least ",
                      size, " bytes, more than the ", max_bytes, " that are read here"));
  };
  // The size is a hint: a pipe has none, and a file may grow or shrink while it is read.
  check_size(static_cast<uint64_t>(info.st_size));
  std::string content;
  content.resize(static_cast<size_t>(info.st_size) +
                 1);  // one more, to see the end without growing
  size_t size = 0;
  while (true) {
    const ssize_t n =
        retry([&] { return ::read(fd.get(), content.data() + size, content.size() - size); });
    if (n < 0) throw_io_error("read", path, errno);
    if (n == 0) break;
    size += static_cast<size_t>(n);
    check_size(size);
    if (size == content.size()) content.resize(size + std::max<size_t>(size / 2, 4096));
  }
  content.resize(size);
  return content;
}

void make_directories(Fs& fs, const std::string& path) {
  if (path.empty() || is_directory(path)) return;
  const std::string parent = parent_path(path);
  if (parent != path) make_directories(fs, parent);
  fs.make_directory(path);
  fs.sync_directory(parent);
}

void remove_all(Fs& fs, const std::string& path) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) {  // lstat: a link is removed, never followed
    if (errno == ENOENT) return;
    throw_io_error("remove", path, errno);
  }
  if (!S_ISDIR(info.st_mode)) return fs.remove_file(path);
  for (const std::string& name : list_directory(path)) remove_all(fs, join_path(path, name));
  fs.remove_directory(path);
}

WriteTarget write_target(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) return {path, true};
  // Followed by hand, because the last link may name a file that is not there yet.
  constexpr int kMaxLinks = 40;  // Linux's own limit
  std::string target = path;
  for (int links = 0; ::lstat(target.c_str(), &info) == 0 && S_ISLNK(info.st_mode); ++links) {
    if (links == kMaxLinks) throw_io_error("write", path, ELOOP);
    std::array<char, PATH_MAX> next;
    const ssize_t size = ::readlink(target.c_str(), next.data(), next.size());
    if (size < 0) throw_io_error("write", path, errno);
    target = join_path(parent_path(target), {next.data(), static_cast<size_t>(size)});
  }
  return {target, false};
}

void write_file_atomic(Fs& fs, const std::string& path, std::string_view content) {
  const WriteTarget target = write_target(path);
  if (target.in_place) {
    const std::unique_ptr<WritableFile> file = fs.create(target.path);
    file->write(std::as_bytes(std::span(content)));
    return file->close();
  }
  static std::atomic<uint64_t> n_written =
      0;  // two threads that write one target must not share a temporary file
  const std::string temporary = str(target.path, ".tmp-", ::getpid(), '-', n_written++);
  try {
    const std::unique_ptr<WritableFile> file = fs.create(temporary);
    file->write(std::as_bytes(std::span(content)));
    file->sync();
    file->close();
    fs.rename(temporary, target.path);
  } catch (const Error&) {
    try {
      fs.remove_file(temporary);
    } catch (const Error&) {  // the first error says what is wrong
    }
    throw;
  }
  fs.sync_directory(parent_path(target.path));
}

FileLock::FileLock(const std::string& path) {
  Fd fd(open_retrying(path, O_RDWR | O_CREAT));
  if (fd.get() < 0) throw_io_error("create", path, errno);
  if (retry([&] { return ::flock(fd.get(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno == EWOULDBLOCK)
      throw Error(str("[fs] ", printable(path),
                      " is locked by another process; wait until it ends, or stop it"),
                  ExitCode::try_again);
    throw_io_error("lock", path, errno);
  }
  fd_ = fd.release();
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

}  // namespace moe
