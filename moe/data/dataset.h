// SPDX-License-Identifier: MIT
// The data of a run: a tokenizer and the windows of both splits, from whatever data.path names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "moe/data/data_config.h"
#include "moe/data/mixture.h"
#include "moe/data/windows.h"
#include "moe/text/tokenizer.h"

namespace moe {

struct Dataset {
  std::shared_ptr<const Tokenizer> tokenizer;  // null: the data are token ids already
  int64_t vocab_size = 0;                      // of the tokenizer, else the largest id + 1
  std::shared_ptr<const Windows> train;        // never null, at least one window
  std::shared_ptr<const Windows> validation;   // null: none
  int64_t n_train_tokens = 0;                  // 0: endless (the demo)
  int64_t n_validation_tokens = 0;
  std::vector<std::string> subject_names;  // of Batch::subject_T; empty: the data have no subjects
  /// Of data.mixture: train as what it is, and windows of each source for validation.
  std::shared_ptr<const MixedWindows> mixture;
  std::vector<int64_t> validation_windows;
};

/// Opens config.path:
/// - `demo`: the built-in corpus drawn with seed (moe/data/demo_windows.h); samples end with the
///   tokenizer's end-of-text id. Validation is the same for every seed.
/// - a text file or a folder of them (moe/data/text_files.h). The documents of a folder follow one
///   another, each ended by the end-of-text id where the tokenizer has one; windows cross from one
///   document into the next.
/// - .npy or .bin token ids (moe/io/token_shards.h). The last val_fraction of the ids are for
///   validation, of [sequences, length] files the last val_fraction of the sequences; no window
///   crosses a sequence.
/// - a folder of shards that `moe data prepare` made (moe/data/prepared_data.h), mapped: the
/// windows
///   are those of the files that it was made of. The split is the folder's; val_fraction 0 leaves
///   its validation part alone.
/// data.mixture: each source so, as one set (moe/data/mixture.h); the subjects are the sources. A
/// source that is too short to be split is for training alone.
///
/// Throws Error: a missing, empty or malformed file; text that the tokenizer cannot encode; a split
/// without a window, saying how many tokens there are and what to set.
Dataset open_dataset(const DataConfig& config, uint64_t seed);

/// Several data sets as data.mixture says; open is called for each with its path in config.path.
Dataset mix_datasets(const DataConfig& config,
                     const std::function<Dataset(const DataConfig&)>& open);

/// data.tokenizer `byte` or a path; `char` needs the text whose characters it knows.
std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name,
                                                std::string_view char_text);

}  // namespace moe
