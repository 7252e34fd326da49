// SPDX-License-Identifier: MIT
// The JSON reader behind config.json and tokenizer.json: what it accepts, it writes and reads
// again.
#include "moe/base/json.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string line;
  moe::fuzz::read(
      [&] { line = moe::to_json_line(moe::parse_json(moe::fuzz::text(data, size), "[fuzz]")); });
  // Outside of read(): what was written must be accepted.
  if (!line.empty()) moe::fuzz::require(moe::to_json_line(moe::parse_json(line, "[fuzz]")) == line);
  return 0;
}
