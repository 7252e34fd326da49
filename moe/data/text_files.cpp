// SPDX-License-Identifier: MIT
#include "moe/data/text_files.h"

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/log.h"
#include "moe/base/rng.h"
#include "moe/base/utf8.h"
#include "moe/data/records.h"

namespace moe {
namespace {

/// Byte offset of character n of well-formed UTF-8.
size_t byte_of_character(std::string_view text, int64_t n) {
  size_t at = 0;
  const auto continues = [&](size_t i) { return (static_cast<uint8_t>(text[i]) & 0xC0) == 0x80; };
  for (; at < text.size(); ++at) {
    if (!continues(at) && n-- == 0) break;
  }
  return at;
}

TextSplit split_document(std::string text, double val_fraction) {
  TextSplit out;
  const auto n_train =
      static_cast<int64_t>(static_cast<double>(count_code_points(text)) * (1.0 - val_fraction));
  const size_t cut = byte_of_character(text, n_train);
  if (cut < text.size()) out.validation.push_back(text.substr(cut));
  text.resize(cut);
  out.train.push_back(std::move(text));
  return out;
}

struct HashedText {
  uint64_t hash;
  std::string text;
};

/// In the order of their hashes, the first share of the documents is for validation, at least one.
TextSplit split_documents(std::vector<HashedText> documents, double val_fraction) {
  if (documents.size() == 1) return split_document(std::move(documents[0].text), val_fraction);
  std::stable_sort(documents.begin(), documents.end(),
                   [](const HashedText& a, const HashedText& b) { return a.hash < b.hash; });
  std::vector<uint64_t> hashes;
  for (const HashedText& d : documents) hashes.push_back(d.hash);
  const size_t n_validation = validation_count(hashes, val_fraction);
  TextSplit out{.many = true};
  for (size_t i = 0; i < documents.size(); ++i)
    (i < n_validation ? out.validation : out.train).push_back(std::move(documents[i].text));
  return out;
}

}  // namespace

size_t validation_count(const std::vector<uint64_t>& hashes, double val_fraction) {
  if (val_fraction <= 0 || hashes.size() < 2) return 0;
  const auto share = std::clamp<size_t>(
      static_cast<size_t>(static_cast<double>(hashes.size()) * val_fraction), 1, hashes.size() - 1);
  size_t n = share;
  while (n < hashes.size() && hashes[n] == hashes[n - 1]) ++n;
  return n == hashes.size() ? share : n;
}

namespace {

/// The texts of a file of records, each by its own hash: copies of a text fall on one side.
void add_records(const std::string& path, OnError on_error, std::vector<HashedText>& out) {
  RecordFile file = read_records(path, on_error);
  for (Record& record : file.records) {
    MOE_CHECK(record.is_text(), "[data] ", printable(path), " line ", record.line,
              ": a conversation (", file.form, "); pretraining reads a field 'text'");
    const uint64_t hash = stable_hash(record.text);
    out.push_back({hash, std::move(record.text)});
  }
}

}  // namespace

TextSplit read_text_files(const std::string& path, double val_fraction, OnError on_error) {
  MOE_CHECK(val_fraction >= 0 && val_fraction < 1, "[data] val_fraction ", val_fraction,
            " is not in [0, 1)");
  MOE_CHECK(exists(path), "[data] ", printable(path), ": no such file or folder (data.path)");
  std::vector<HashedText> documents;
  if (!is_directory(path)) {
    if (is_record_file(path)) {
      add_records(path, on_error, documents);
      return split_documents(std::move(documents), val_fraction);
    }
    std::string text = read_text(path);
    MOE_CHECK(!text.empty(), "[data] ", printable(path),
              ": the file is empty; give one with text in it");
    return split_document(std::move(text), val_fraction);
  }
  for (const std::string& name : list_directory(path)) {
    const std::string file = join_path(path, name);
    if (is_directory(file)) continue;
    if (is_record_file(name)) {
      add_records(file, on_error, documents);
      continue;
    }
    if (!is_text_file(name)) continue;
    std::string text = read_text(file);
    if (text.empty()) {
      log_warning(str("[data] ", printable(file), " is empty and left out"));
      continue;
    }
    documents.push_back({stable_hash(name), std::move(text)});
  }
  MOE_CHECK(!documents.empty(), "[data] ", printable(path),
            ": the folder holds no .txt, .jsonl, .json, .csv or .tsv file with text in it");
  return split_documents(std::move(documents), val_fraction);
}

}  // namespace moe
