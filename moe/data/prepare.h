// SPDX-License-Identifier: MIT
// Texts and conversations to token shards, once, so that later runs map them instead of reading
// and encoding everything again (`moe data prepare`).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/base/fs.h"
#include "moe/data/prepared_data.h"

namespace moe {

struct PrepareOptions {
  std::vector<std::string> inputs = {};  // files, or folders of files
  std::string out = {};                  // a folder that does not exist or is empty
  std::string stage = "auto";            // pretrain, sft; auto: by the first record
  /// tokenizer, val_fraction, on_error, fim_rate, chat_template, loss_on, turns and seq_len, which
  /// only conversations know: they are cut at seq_len + 1 ids; 0: they stay whole. path is unused.
  DataConfig data = {};
  int64_t seed = 1;  // of the draws of fim_rate: train.seed of the run
  int64_t max_shard_bytes = int64_t{100} << 20;
  /// Told what is being done and the share of it that is.
  std::function<void(const std::string&, double)> progress = {};
  std::function<bool()> stop_requested = {};  // the call then throws Error (interrupted)
};

struct PrepareResult {
  PreparedInfo info = {};
  int64_t text_bytes = 0;                // of the texts and conversations that were read
  int64_t n_bad = 0;                     // records that are wrong and left out
  int64_t cut = 0, nothing_learned = 0;  // conversations
};

/// A run with data.path=out reads the windows that it would read from the files themselves, with
/// the same documents in the same order and on the same side of the split. The shards are the same
/// for any number of threads. Memory is bounded by the size of a shard, of the longest document and
/// of a hundredth part of the data, not by the data; files that are no text and no JSON lines are
/// read whole. Everything is written into a folder beside `out`, which is renamed at the end; on an
/// error nothing is left. Throws Error as reading the data directly does.
PrepareResult prepare_data(Fs& fs, const PrepareOptions& options);

}  // namespace moe
