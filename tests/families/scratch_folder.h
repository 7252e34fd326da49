// SPDX-License-Identifier: MIT
// A folder that a test writes model files into, removed at its end.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/io/safetensors_writer.h"

namespace moe {

class ScratchFolder {
 public:
  ScratchFolder() {
    const std::string parent = ::access("/dev/shm", W_OK) == 0
                                   ? "/dev/shm"
                                   : std::filesystem::temp_directory_path().string();
    path_ = join_path(parent, "moe_families_XXXXXX");
    MOE_CHECK(::mkdtemp(path_.data()) != nullptr, "cannot make ", path_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return join_path(path_, name); }
  void copy(const std::string& from, const std::string& name) const {
    std::filesystem::copy_file(from, *this / name,
                               std::filesystem::copy_options::overwrite_existing);
  }
  void put(const std::string& name, std::string_view content) const {
    std::ofstream(*this / name, std::ios::binary) << content;
  }
  void put_tensors(const std::vector<TensorSource>& tensors) const {
    write_safetensors(real_fs(), *this / "model.safetensors", tensors, {});
  }

 private:
  std::string path_;
};

}  // namespace moe
