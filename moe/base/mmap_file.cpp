// SPDX-License-Identifier: MIT
// A file mapped read-only.
#include "moe/base/mmap_file.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "moe/base/error.h"
#include "moe/base/fs.h"

namespace moe {

MmapFile::MmapFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: opening a pipe by mistake must not wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) throw Error(str("[fs] ", printable(path), " does not exist"));
  if (fd < 0) throw_io_error("open", path, errno);
  struct stat info;
  if (::fstat(fd, &info) != 0) {
    const int error_number = errno;
    ::close(fd);
    throw_io_error("read", path, error_number);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    throw Error(str("[fs] ", printable(path),
                    S_ISDIR(info.st_mode) ? " is a folder" : " is not a regular file",
                    ", expected a file"));
  }
  if (info.st_size > 0) {
    const auto size = static_cast<size_t>(info.st_size);
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    const int error_number = errno;
    ::close(fd);
    if (data == MAP_FAILED) throw_io_error("map", path, error_number);
    data_ = static_cast<const std::byte*>(data);
    size_ = size;
  } else {
    ::close(fd);
  }
}

MmapFile::~MmapFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace moe
