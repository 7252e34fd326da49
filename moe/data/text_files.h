// SPDX-License-Identifier: MIT
// Text as training data: one file, a file of records, or a folder of such files, cut into a
// training and a validation part.
#pragma once

#include <string>
#include <vector>

#include "moe/data/records.h"

namespace moe {

struct TextSplit {
  std::vector<std::string> train = {}, validation = {};  // documents
  bool many = false;  // each is one of several: its end is the end of a text
};

/// A text file is one document; the last val_fraction of its characters are for validation, as
/// nanoGPT does. Records (moe/data/records.h) are one document each, and so are the text files of a
/// folder (.txt, .txt.gz, .txt.zst; not those of folders below it; empty ones are left out with a
/// warning): in the order of stable_hash of a record's text or a file's name, the first
/// val_fraction of the documents, at least one, are for validation. val_fraction 0: none. Throws
/// Error that names the file when one is missing, not UTF-8 (with the byte) or nothing is in it.
TextSplit read_text_files(const std::string& path, double val_fraction,
                          OnError on_error = OnError::stop);

/// How many of the first documents are for validation, given their hashes in ascending order: the
/// share, at least one and not all. Copies have the same hash: the border does not go through them,
/// unless all are one. 0 for a single document.
size_t validation_count(const std::vector<uint64_t>& hashes, double val_fraction);

}  // namespace moe
