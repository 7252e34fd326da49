// SPDX-License-Identifier: MIT
// What the tests of moe/io share: a folder that goes away, whole-file reads and writes without Fs,
// the byte pattern of the golden files, damage, and a meter of the memory that a piece of code asks
// for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <unistd.h>
#include <vector>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/tensor/tensor.h"

namespace moe {

/// In memory where the system has /dev/shm: what is tested are the calls, not how long a disk takes
/// to sync.
class TempFolder {
 public:
  TempFolder() {
    const std::string parent = ::access("/dev/shm", W_OK) == 0
                                   ? "/dev/shm"
                                   : std::filesystem::temp_directory_path().string();
    std::string pattern = join_path(parent, "moe_io_XXXXXX");
    if (!mkdtemp(pattern.data())) throw Error("[test] no temporary folder");
    path_ = pattern;
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return join_path(path_, name); }

 private:
  std::string path_;
};

inline std::string golden(std::string_view name) {
  return join_path(join_path(MOE_GOLDEN_DIR, "io"), name);
}

/// Overwrites in place: a file that is emptied first is flushed to the disk at close by ext4, which
/// makes 10,000 damaged copies take minutes.
inline void put(const std::string& path, std::string_view content) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  ASSERT_GE(fd, 0) << path;
  EXPECT_EQ(::pwrite(fd, content.data(), content.size(), 0), ssize_t(content.size()));
  EXPECT_EQ(::ftruncate(fd, off_t(content.size())), 0);
  ::close(fd);
}

/// The array of the golden files: byte i is (i * 37 + 11) % 256, booleans i % 2.
inline Tensor pattern_tensor(Shape shape, DType dtype) {
  const Tensor tensor = Tensor::empty(shape, dtype);
  for (int64_t i = 0; i < tensor.stored_bytes(); ++i)
    tensor.raw()[i] = std::byte(dtype == DType::boolean ? i % 2 : (i * 37 + 11) % 256);
  return tensor;
}

/// The message of the Error that `code` throws; fails the test when it throws none or more than one
/// line.
template <class Code>
std::string error_of(const Code& code) {
  try {
    code();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  ADD_FAILURE() << "no error";
  return "";
}

#define EXPECT_ERROR(code, part) \
  EXPECT_NE(error_of([&] { code; }).find(part), std::string::npos) << error_of([&] { code; })

/// Calls check(content cut short) for every length.
template <class Check>
void for_each_truncation(const std::string& content, const Check& check) {
  for (size_t n = 0; n < content.size(); ++n) check(content.substr(0, n));
}
/// Calls check(damaged content) for n_flips copies, each with one to four bytes changed at random.
template <class Check>
void for_each_flip(const std::string& content, int n_flips, const Check& check) {
  std::mt19937_64 random(20240607);
  for (int flip = 0; flip < n_flips; ++flip) {
    std::string damaged = content;
    const int n_bytes = 1 + int(random() % 4);
    for (int i = 0; i < n_bytes; ++i)
      damaged[random() % damaged.size()] ^= char(1 + random() % 255);
    if (damaged != content) check(damaged);
  }
}

/// Bytes that operator new handed out and did not take back, and their highest count since `reset`.
/// The operators are replaced in allocation_meter.cpp.
struct AllocationMeter {
  static void reset();
  static int64_t peak_bytes();
};

/// Runs code (an Error is fine) and returns the most memory it held: operator new and tensor
/// storage together.
template <class Code>
int64_t peak_memory_of(const Code& code) {
  AllocationMeter::reset();
  reset_tensor_bytes_peak();
  const int64_t tensors_before = tensor_bytes_in_use();
  try {
    code();
  } catch (const Error&) {
  }
  return AllocationMeter::peak_bytes() + tensor_bytes_peak() - tensors_before;
}

}  // namespace moe
