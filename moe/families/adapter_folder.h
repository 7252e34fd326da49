// SPDX-License-Identifier: MIT
// Low-rank adapters on disk, as PEFT keeps them: adapter_config.json beside
// adapter_model.safetensors (moe/families/adapter_tensors.h).
#pragma once

#include <string>

#include "moe/families/model_folder.h"
#include "moe/nn/lora.h"

namespace moe {

/// Whether a folder holds an adapter.
bool is_adapter_folder(const std::string& folder);

struct AdapterInfo {
  std::string base;                                                // base_model_name_or_path
  LoraConfig config;                                               // all but the targets
  std::vector<std::pair<std::string, double>> alpha_pattern = {};  // the first that answers counts
  std::vector<std::string> target_parameters = {};
};
/// Throws Error for another kind of adapter than LoRA, and for keys that change what it computes
/// and are not supported.
AdapterInfo read_adapter_info(const std::string& folder);

/// Puts the adapter of a folder on a model and returns its number. Every tensor must fit; throws
/// Error that names those that do not: it was made for another model.
int load_adapter(TransformerLM& model, const std::string& folder);
/// Fills an adapter that the model has from a folder with the same targets.
void load_adapter_weights(const TransformerLM& model, int adapter, const std::string& folder);

/// Writes both files through add_file. base: the folder of the model that it belongs to.
void write_adapter_files(const AddFile& add_file, const TransformerLM& model, int adapter,
                         const LoraConfig& config, const std::string& base);

}  // namespace moe
