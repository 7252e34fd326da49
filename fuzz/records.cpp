// SPDX-License-Identifier: MIT
// Records of every form, CSV, and compressed data.
#include "moe/data/records.h"

#include "moe/base/compress.h"
#include "moe/data/parquet.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text = moe::fuzz::text(data, size).substr(1);
  return moe::fuzz::read([&] {
    switch (data[0] % 4) {
      case 0: moe::parse_csv(text, ',', "[fuzz]"); break;
      case 1:
        // A zstd frame may ask for a window of up to 128 MiB, more than one allocation may take
        // here.
        if (moe::compression_of(text) == moe::Compression::gzip)
          moe::decompress(text, uint64_t{1} << 20, "[fuzz]");
        break;
      case 2: moe::read_parquet_text(text, "text", uint64_t{1} << 20, "[fuzz]"); break;
      default: {
        const moe::Json json = moe::parse_json(text, "[fuzz]", 16);
        if (!json.is_object()) return;
        std::string form;
        const moe::Record record = moe::parse_record(json.as_object(), form);
        moe::fuzz::require(record.is_text() ? !record.text.empty() : record.messages.size() > 0);
      }
    }
  });
}
