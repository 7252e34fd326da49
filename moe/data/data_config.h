// SPDX-License-Identifier: MIT
// The `data` group of a configuration.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moe/base/config.h"

namespace moe {

/// One of several sources of training data.
struct DataSource {
  std::string path = {};  // as data.path
  double weight = 0;      // 0: in proportion to its windows
  double epochs = 0;      // passes over it at most; 0: as many as its share takes
};

struct DataConfig {
  /// demo, a file of text or records or a folder of them, a .npy or .bin file of token ids.
  std::string path = "demo";
  std::vector<DataSource> mixture = {};  // several sources in place of path
  /// byte, char, or the path of a tokenizer file or of a folder that holds one.
  std::string tokenizer = "byte";
  int64_t seq_len = 256;            // tokens per window
  int64_t stride = 0;               // tokens between window starts; 0: seq_len
  int64_t eval_stride = 0;          // of a stream's validation windows; 0: as stride
  double val_fraction = 0.1;        // 0: no validation
  std::string order = "shuffled";   // shuffled | sequential
  bool drop_last = true;            // false: the tokens after the last whole window are one too
  std::string token_dtype = "u16";  // of a .bin file: u16 | u32
  std::string on_error = "stop";    // a record that is wrong: stop | skip | report
  std::string packing = "auto";     // auto | stream | sequential | best_fit | none
  double fim_rate = 0;  // share of the documents that are written for filling in the middle
  /// Of fine-tuning on conversations.
  std::string chat_template;          // name, file or folder; empty: the model's own, else chatml
  std::string loss_on = "assistant";  // assistant | all
  std::string turns = "every";        // every | last

  bool is_demo() const { return mixture.empty() && path == "demo"; }
  /// data.path, or that of each source.
  std::vector<std::string> paths() const;
};

/// Adds the keys data.* to a table.
void add_data_keys(ConfigTable& table, DataConfig& config);

}  // namespace moe
