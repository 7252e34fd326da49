// SPDX-License-Identifier: MIT
// A model family of Hugging Face: its config.json <-> ModelConfig, and where its tensors lie. Names
// of other projects' tensors live in this folder alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moe/base/error.h"
#include "moe/base/json.h"
#include "moe/nn/model_config.h"

namespace moe {

/// Where a piece of our model lies in a family's file: a whole tensor, or a part of one along the
/// output dimension.
struct TensorPlace {
  std::string name;
  bool transposed = false;  // stored [in, out] (GPT-2's Conv1D)
  int64_t begin = 0;        // first output row of the piece in the stored tensor
  int64_t total_rows = -1;  // output rows of the stored tensor; -1: the piece is all of it
  int64_t matrix = -1;      // index into the first dimension of a stacked tensor; -1: none
  int64_t n_matrices = -1;  // its size
};

struct Family {
  const char* model_type;
  /// Throws Error for keys that change the function and are not supported.
  ModelConfig (*read_config)(const JsonReader& config);
  /// The config.json keys of this family (without the general ones), or the reason why it cannot
  /// express the model.
  struct Written {
    JsonObject config;
    std::string reason;  // not empty: not expressible
  };
  Written (*write_config)(const ModelConfig& config);
  /// Places to look for a piece, best first; the first one is where it is written.
  std::vector<TensorPlace> (*places)(const ModelConfig& config, const std::string& piece_name);
};

/// gpt2, llama, qwen2, qwen3, mixtral, qwen3_moe, olmoe, and moe_cpp, which expresses everything.
const std::vector<const Family*>& family_table();
/// Throws Error naming the nearest family.
const Family& find_family(const std::string& model_type, const std::string& what);
/// The first family of the table that can express the model.
const Family& family_for(const ModelConfig& config);
/// Why none but moe_cpp expresses the model: one reason per family, "llama: ...; gpt2: ...".
std::string why_own_format(const ModelConfig& config);

}  // namespace moe
