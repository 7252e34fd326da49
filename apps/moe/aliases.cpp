// SPDX-License-Identifier: MIT
#include "apps/moe/aliases.h"

#include <algorithm>

#include "moe/base/error.h"
#include "moe/base/str.h"

namespace moe {
namespace {

struct Alias {
  const char* flag;
  std::vector<const char*> keys;  // empty: the flag is no more than a wish that is always granted
};

const std::vector<Alias>& aliases() {
  static const std::vector<Alias> table = {
      {"load_balance_loss_weight", {"model.moe.aux_loss_weight"}},
      {"aux_loss_weight", {"model.moe.aux_loss_weight"}},
      {"num_experts", {"model.moe.n_experts"}},
      {"n_experts", {"model.moe.n_experts"}},
      {"top_k", {"model.moe.top_k"}},
      {"capacity_factor", {"model.moe.capacity_factor"}},
      {"router", {"model.moe.router"}},
      {"moe_layers", {"model.moe.layers"}},
      {"dataset", {"data.path"}},
      {"batch_size", {"train.batch_size"}},
      {"learning_rate", {"optim.lr"}},
      {"max_iters", {"train.steps"}},
      {"max_steps", {"train.steps"}},
      {"block_size", {"model.max_seq_len", "data.seq_len"}},
      {"n_layer", {"model.n_layers"}},
      {"d_model", {"model.d_model"}},
      {"dropout", {"model.dropout"}},
      {"output_dir", {"run_dir"}},
      {"monitor_expert_usage", {}},  // metrics.jsonl always has it
  };
  return table;
}

// "--num-experts=4" as {"num_experts", "4"}; "" without a sign.
std::pair<std::string, std::string> parts(const std::string& argument) {
  const size_t equals = argument.find('=');
  std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
  std::replace(name.begin(), name.end(), '-', '_');
  return {name, equals == std::string::npos ? "" : argument.substr(equals + 1)};
}

}  // namespace

std::vector<std::string> expand_aliases(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (!starts_with(arguments[i], "--") || arguments[i].size() < 3) {
      out.push_back(arguments[i]);
      continue;
    }
    auto [name, value] = parts(arguments[i]);
    const bool has_value = arguments[i].find('=') != std::string::npos;
    const bool is_size = name == "dense_size" || name == "moe_size";
    const auto found = std::find_if(aliases().begin(), aliases().end(),
                                    [&](const Alias& a) { return name == a.flag; });
    if (!is_size && found == aliases().end()) {
      out.push_back(arguments[i]);
      continue;
    }
    if (!is_size && found->keys.empty()) {
      // An optional true or false after it.
      if (!has_value && i + 1 < arguments.size() &&
          (arguments[i + 1] == "true" || arguments[i + 1] == "True"))
        ++i;
      continue;
    }
    if (!has_value) {
      if (i + 1 >= arguments.size() || starts_with(arguments[i + 1], "--"))
        throw Error(str(arguments[i], " needs a value"), ExitCode::usage);
      value = arguments[++i];
    }
    if (is_size)
      out.push_back((name == "dense_size" ? "dense-" : "moe-") + value);
    else
      for (const char* key : found->keys) out.push_back(std::string(key) + "=" + value);
  }
  return out;
}

}  // namespace moe
