// SPDX-License-Identifier: MIT
// Every scanner covers every text, piece by piece; normal forms and encoders take any bytes.
#include "moe/text/encode_batch.h"
#include "moe/text/piece_scanner.h"
#include "moe/text/unicode.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = moe::fuzz::text(data, size);
  for (const moe::SplitPattern& pattern : moe::split_patterns()) {
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = pattern.scan(text, begin);
      moe::fuzz::require(end > begin && end <= text.size());
      begin = end;
    }
    // A cut at a line changes no piece.
    const size_t cut = moe::line_cut(text, 1);
    if (cut < text.size() && pattern.total && pattern.name != "characters") {
      size_t begin = 0;
      while (begin < cut) begin = pattern.scan(text, begin);
      moe::fuzz::require(begin == cut);
    }
  }
  using moe::NormalForm;
  const std::string nfc = moe::to_normal_form(text, NormalForm::nfc);
  moe::fuzz::require(moe::to_normal_form(nfc, NormalForm::nfc) == nfc);
  const std::string nfkd = moe::to_normal_form(text, NormalForm::nfkd);
  moe::fuzz::require(moe::to_normal_form(nfkd, NormalForm::nfkd) == nfkd);
  moe::to_lower(text);
  return 0;
}
