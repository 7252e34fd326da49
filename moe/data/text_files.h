// SPDX-License-Identifier: MIT
// Plain text as training data: one file, or the .txt files of a folder, each a document, cut into a
// training and a validation part.
#pragma once

#include <string>
#include <vector>

namespace moe {

struct TextSplit {
  std::vector<std::string> train, validation;  // documents
};

/// A file is one document; the last val_fraction of its characters are for validation, as nanoGPT
/// does. A folder's .txt files (not those of folders below it; empty ones are left out with a
/// warning) stay whole: in the order of stable_hash(name), the first val_fraction of the files, at
/// least one, are for validation. val_fraction 0: none. Throws Error that names the file when one
/// is missing, not UTF-8 (with the byte) or nothing is in it.
TextSplit read_text_files(const std::string& path, double val_fraction);

}  // namespace moe
