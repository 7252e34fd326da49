// SPDX-License-Identifier: MIT
// A folder of its own for a test, removed at the end.
#pragma once

#include <cstdlib>
#include <string>
#include <unistd.h>

#include "moe/base/error.h"
#include "moe/base/fs.h"

namespace moe {

class TempFolder {
 public:
  TempFolder() {
    // In memory where there is such a folder: the tests of crashes make hundreds of small files.
    const char* base = std::getenv("TMPDIR");
    if (base == nullptr) base = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    path_ = join_path(base, "moe-test-XXXXXX");
    MOE_CHECK(::mkdtemp(path_.data()) != nullptr, "cannot make ", path_);
  }
  ~TempFolder() {
    try {
      remove_all(real_fs(), path_);
    } catch (const Error&) {  // a folder left behind fails no test
    }
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return join_path(path_, name); }

 private:
  std::string path_;
};

/// The message of the Error that f throws, "" when it throws none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace moe
