// SPDX-License-Identifier: MIT
// The manifest of a checkpoint. The input is sealed with the right checksum first: a fuzzer cannot
// guess 128 bits, whoever writes a malicious manifest can compute them. What is accepted is written
// and read again.
#include "moe/io/manifest.h"

#include "moe/base/str.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto body = std::as_bytes(std::span(data, size));
  const std::string sealed = moe::str(moe::fuzz::text(data, size), ",\n  \"xxh3_128\": \"",
                                      moe::xxh3_128_hex(body), "\"\n}\n");
  std::string text;
  moe::fuzz::read([&] { text = manifest_text(moe::parse_manifest(sealed, "[fuzz]")); });
  if (!text.empty()) moe::fuzz::require(manifest_text(moe::parse_manifest(text, "[fuzz]")) == text);
  return moe::fuzz::read([&] { moe::parse_manifest(moe::fuzz::text(data, size), "[fuzz]"); });
}
