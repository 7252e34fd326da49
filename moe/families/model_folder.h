// SPDX-License-Identifier: MIT
// A model on disk: a Hugging Face folder, one of our checkpoints (which is one), or a run folder
// (its newest valid checkpoint).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "moe/families/family.h"
#include "moe/io/safetensors_writer.h"
#include "moe/nn/transformer_lm.h"
#include "moe/text/tokenizer.h"

namespace moe {

struct ModelFolder {
  std::string path;  // the folder with config.json
  std::string model_type;
  std::unique_ptr<TransformerLM> model;
  std::shared_ptr<const Tokenizer> tokenizer;  // null: none, or one that is not supported
  std::string no_tokenizer_reason;             // why it is null
  std::vector<int32_t> eos_ids;
  std::vector<std::string> adapters;  // folders of the low-rank adapters on the model

  /// The tokenizer, or Error that says why there is none and that --ids needs none.
  const Tokenizer& need_tokenizer() const;
};

/// The folder that holds config.json, or adapter_config.json: `path` itself or the newest valid
/// checkpoint of a run folder.
/// Throws Error when there is neither.
std::string resolve_model_folder(const std::string& path);

/// Configuration only.
ModelConfig read_model_config(const std::string& folder);

/// Reads config.json, weights (f32, f16 or bf16, converted to dtype) and tokenizer.json. Every
/// parameter must be there exactly once with its shape, and no tensor may be left over except known
/// buffers: Error lists what is missing and what is unexpected. A checkpoint whose manifest does
/// not fit is read with a warning.
///
/// A folder with a low-rank adapter (moe/families/adapter_folder.h) is read as its base model with
/// the adapter in use.
ModelFolder load_model_folder(const std::string& path, DType dtype = DType::f32);

/// Puts the adapter of a folder (or of a run folder's newest checkpoint) on a model that was read,
/// and returns its number.
int add_adapter_folder(ModelFolder& folder, const std::string& path);

/// Fills an existing model of the same shape from a folder.
void load_weights(const TransformerLM& model, const std::string& folder);

struct ModelCard {
  std::string title = "moe.cpp model";
  std::string text;  // Markdown below the front matter
  /// Front matter; a key that nobody knows is left out.
  std::string license, language, base_model;
  std::vector<std::string> datasets;
};

/// Writes generation_config.json, and of a tokenizer tokenizer.json and tokenizer_config.json.
void write_text_files(const AddFile& add_file, const Tokenizer* tokenizer,
                      const std::vector<int32_t>& eos_ids);

/// Writes config.json, generation_config.json, README.md, tokenizer.json (when there is one) and
/// model.safetensors (sharded beyond max_shard_bytes) through add_file, in the first family that
/// can express the model.
void write_model_files(const AddFile& add_file, const TransformerLM& model,
                       const Tokenizer* tokenizer, const std::vector<int32_t>& eos_ids,
                       const ModelCard& card, uint64_t max_shard_bytes = uint64_t{4} << 30);

/// The weights of a model under the names of a family, as sources that convert nothing and copy one
/// tensor at a time. The model must outlive them.
std::vector<TensorSource> model_tensors(const TransformerLM& model, const Family& family);

}  // namespace moe
