// SPDX-License-Identifier: MIT
#include "moe/data/text_files.h"

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/log.h"
#include "moe/base/rng.h"

namespace moe {
namespace {

std::string read_utf8(const std::string& path) {
  std::string text = read_file(path);
  const size_t bad = first_invalid_utf8(text);
  MOE_CHECK(bad == std::string::npos, "[data] ", printable(path), ": byte ", bad,
            " is not UTF-8 text; convert the file (iconv -t UTF-8)");
  return text;
}

/// Byte offset of character n of well-formed UTF-8.
size_t byte_of_character(std::string_view text, int64_t n) {
  size_t at = 0;
  const auto continues = [&](size_t i) { return (static_cast<uint8_t>(text[i]) & 0xC0) == 0x80; };
  for (; at < text.size(); ++at) {
    if (!continues(at) && n-- == 0) break;
  }
  return at;
}

int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

TextSplit split_document(std::string text, double val_fraction) {
  TextSplit out;
  const auto n_train =
      static_cast<int64_t>(static_cast<double>(count_characters(text)) * (1.0 - val_fraction));
  const size_t cut = byte_of_character(text, n_train);
  if (cut < text.size()) out.validation.push_back(text.substr(cut));
  text.resize(cut);
  out.train.push_back(std::move(text));
  return out;
}

}  // namespace

TextSplit read_text_files(const std::string& path, double val_fraction) {
  MOE_CHECK(val_fraction >= 0 && val_fraction < 1, "[data] val_fraction ", val_fraction,
            " is not in [0, 1)");
  MOE_CHECK(exists(path), "[data] ", printable(path), ": no such file or folder (data.path)");
  if (!is_directory(path)) {
    std::string text = read_utf8(path);
    MOE_CHECK(!text.empty(), "[data] ", printable(path), ": the file is empty");
    return split_document(std::move(text), val_fraction);
  }
  std::vector<std::pair<uint64_t, std::string>> documents;  // by hash of the name
  for (const std::string& name : list_directory(path)) {
    const std::string file = join_path(path, name);
    if (!ends_with(name, ".txt") || is_directory(file)) continue;
    std::string text = read_utf8(file);
    if (text.empty()) {
      log_warning(str("[data] ", printable(file), " is empty and left out"));
      continue;
    }
    documents.emplace_back(stable_hash(name), std::move(text));
  }
  MOE_CHECK(!documents.empty(), "[data] ", printable(path),
            ": the folder holds no .txt file with text in it");
  if (documents.size() == 1) return split_document(std::move(documents[0].second), val_fraction);

  std::stable_sort(documents.begin(), documents.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  size_t n_validation = 0;
  if (val_fraction > 0) {
    const auto share = static_cast<size_t>(static_cast<double>(documents.size()) * val_fraction);
    n_validation = std::clamp<size_t>(share, 1, documents.size() - 1);
  }
  TextSplit out;
  for (size_t i = 0; i < documents.size(); ++i)
    (i < n_validation ? out.validation : out.train).push_back(std::move(documents[i].second));
  return out;
}

}  // namespace moe
