// SPDX-License-Identifier: MIT
// adapter_config.json of PEFT and of our own.
#include <filesystem>
#include <fstream>

#include "moe/families/adapter_folder.h"

#include "fuzz/memory_file.h"

namespace {

// Removed at the end of the process.
struct Folder {
  std::string path = "/dev/shm/moe-fuzz-XXXXXX";
  Folder() {
    if (!mkdtemp(path.data())) std::abort();
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  std::ofstream(folder.path + "/adapter_config.json", std::ios::binary)
      << moe::fuzz::text(data, size);
  moe::fuzz::read([&] {
    const moe::AdapterInfo info = moe::read_adapter_info(folder.path);
    moe::fuzz::require(info.config.rank >= 1);
  });
  return 0;
}
