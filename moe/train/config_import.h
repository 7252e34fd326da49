// SPDX-License-Identifier: MIT
// Flat configurations in the style of Python scripts (`n_layer = 6  # comment`) or key=value lists,
// with the names that tutorials use, as keys of ours.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace moe {

struct ImportedConfig {
  std::vector<std::string> keys;     // "model.n_layers=6"
  std::vector<std::string> ignored;  // names that mean nothing here, with their values
};

/// Values: numbers, products of whole numbers (5 * 8), True, False, None, quoted strings and lists.
/// Text outside of plain assignments (imports, functions, classes) is an error that names the line,
/// since it is not run. Throws Error (usage).
ImportedConfig import_config(const std::string& text, const std::string& what);

/// A LLaMA-Factory YAML file (stage pt or sft, finetuning_type full or lora). Data sets are found
/// through dataset_info.json in dataset_dir, where there is one. Throws Error (usage) naming file
/// and line: another stage, quantisation, a value that is none.
ImportedConfig import_llama_factory(const std::string& text, const std::string& what);

/// key=value lines of at most two levels as YAML of ours.
std::string keys_to_yaml(const std::vector<std::string>& keys);

}  // namespace moe
