// SPDX-License-Identifier: MIT
// Configurations of other programs: flat name = value lines, and LLaMA-Factory's YAML.
#include "moe/train/config_import.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(moe::fuzz::text(data, size));
  moe::fuzz::read([&] {
    for (const std::string& key : moe::import_config(text, "[fuzz]").keys)
      moe::fuzz::require(key.find('=') != std::string::npos);
  });
  moe::fuzz::read([&] { moe::keys_to_yaml(moe::import_llama_factory(text, "[fuzz]").keys); });
  return 0;
}
