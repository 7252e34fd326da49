// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/json.h"
#include "moe/base/yaml_tree.h"
#include "moe/train/config_import.h"
#include "moe/train/run_config.h"

namespace moe {
namespace {

// Names whose value is ours as it is.
const std::map<std::string, std::string>& plain_names() {
  static const std::map<std::string, std::string> table = {
      {"model_name_or_path", "model.init_from"},
      {"template", "data.template"},
      {"cutoff_len", "data.seq_len"},
      {"val_size", "data.val_fraction"},
      {"output_dir", "run_dir"},
      {"per_device_train_batch_size", "train.batch_size"},
      {"gradient_accumulation_steps", "train.grad_accum"},
      {"learning_rate", "optim.lr"},
      {"weight_decay", "optim.weight_decay"},
      {"max_grad_norm", "optim.grad_clip"},
      {"warmup_steps", "optim.warmup_steps"},
      {"num_train_epochs", "train.epochs"},
      {"max_steps", "train.steps"},
      {"save_steps", "train.checkpoint_every"},
      {"save_total_limit", "train.keep"},
      {"eval_steps", "train.eval_every"},
      {"seed", "train.seed"},
      {"neftune_noise_alpha", "model.neftune_alpha"},
      {"lora_rank", "lora.rank"},
      {"lora_alpha", "lora.alpha"},
      {"lora_dropout", "lora.dropout"}};
  return table;
}

// Their templates by our names, where they differ.
const std::map<std::string, std::string>& template_names() {
  static const std::map<std::string, std::string> table = {
      {"qwen", "qwen2.5"},       {"llama3", "llama-3.1"},
      {"mistral", "mistral-v2"}, {"deepseek3", "deepseek-v3.1"},
      {"gpt", "gpt-oss"},        {"gpt_oss", "gpt-oss"},
      {"default", "chatml"}};
  return table;
}

class Importer {
 public:
  Importer(const YamlNode& root, const std::string& what) : what_(what) {
    if (root.kind != YamlNode::Kind::map) wrong(1, "no map of keys");
    for (const YamlNode::Member& m : root.members) given_[m.key] = &m.value;
    for (const YamlNode::Member& m : root.members) order_.push_back(m.key);
  }

  ImportedConfig run() {
    stage();
    for (const auto& [name, key] : plain_names()) {
      const std::string value = take(name);
      if (value.empty()) continue;
      if (name == "template") {
        const auto known = template_names().find(value);
        add(key, known == template_names().end() ? value : known->second);
      } else if (!(name == "max_steps" && value == "-1")) {
        add(key, value);
      }
    }
    data();
    schedule();
    adapter();
    if (is_true(take("train_on_prompt"))) add("data.loss_on", "all");
    if (is_true(take("mask_history"))) add("data.turns", "last");
    for (const std::string& name : order_)
      if (!used_.contains(name))
        out_.ignored.push_back(name + ": " + to_yaml_line(*given_.at(name)));
    return std::move(out_);
  }

 private:
  [[noreturn]] void wrong(int line, const std::string& message) const {
    throw Error(str(what_, " line ", line, ": ", message), ExitCode::usage);
  }
  std::string take(const std::string& name) {
    const auto found = given_.find(name);
    if (found == given_.end()) return "";
    used_.insert(name);
    const YamlNode& node = *found->second;
    if (node.kind == YamlNode::Kind::null) return "";
    if (node.kind != YamlNode::Kind::scalar) wrong(node.line, name + " must be one value");
    return node.text;
  }
  int line_of(const std::string& name) const { return given_.at(name)->line; }
  static bool is_true(const std::string& value) {
    return value == "true" || value == "True" || value == "yes" || value == "on";
  }
  void add(const std::string& key, const std::string& value) {
    out_.keys.push_back(key + "=" + value);
  }

  void stage() {
    const std::string stage = take("stage");
    if (stage == "sft")
      add("stage", "sft");
    else if (stage == "pt")
      add("stage", "pretrain");
    else if (!stage.empty())
      wrong(line_of("stage"),
            str("stage ", printable(stage, 20), " is not supported; pt and sft are"));
    const std::string bits = take("quantization_bit");
    if (!bits.empty())
      wrong(line_of("quantization_bit"), "adapters on a quantised model are not supported");
  }
  void data() {
    std::vector<std::string> names;
    for (const std::string& name : split(take("dataset"), ','))
      if (!trim(name).empty()) names.push_back(trim(name));
    const std::string folder = take("dataset_dir").empty() ? "data" : take("dataset_dir"),
                      strategy = take("mix_strategy"), probabilities = take("interleave_probs");
    if (names.empty()) return;
    if (names.size() == 1) {
      add("data.path", path_of(names[0], folder));
      return;
    }
    std::vector<std::string> weights = mixing_weights(names.size(), strategy, probabilities);
    std::vector<std::string> sources;
    for (size_t i = 0; i < names.size(); ++i) {
      std::string source = "{path: " + yaml_string(path_of(names[i], folder));
      if (!weights.empty()) source += ", weight: " + weights[i];
      // The mixture ends with the set that is used up first: none is seen again.
      if (strategy == "interleave_under") {
        const std::string epochs = take("num_train_epochs");
        source += ", epochs: " + (epochs.empty() ? std::string("1") : epochs);
      }
      sources.push_back(source + "}");
    }
    add("data.mixture", "[" + join(sources, ", ") + "]");
    if (strategy == "interleave_under")
      out_.ignored.push_back(
          "mix_strategy: interleave_under ends with the data set that is used up first; here its "
          "share goes to the others");
  }
  /// Of interleaved data sets; none of concatenated ones.
  std::vector<std::string> mixing_weights(size_t n, const std::string& strategy,
                                          const std::string& probabilities) {
    if (strategy.empty() || strategy == "concat") {
      if (!probabilities.empty())
        wrong(line_of("interleave_probs"),
              "interleave_probs needs mix_strategy interleave_under or interleave_over");
      return {};
    }
    if (strategy != "interleave_under" && strategy != "interleave_over")
      wrong(line_of("mix_strategy"),
            str("no mix_strategy ", printable(strategy, 40),
                "; concat, interleave_under and interleave_over are known"));
    if (probabilities.empty()) return std::vector<std::string>(n, "1");
    std::vector<std::string> weights;
    for (const std::string& weight : split(probabilities, ',')) weights.push_back(trim(weight));
    if (weights.size() != n)
      wrong(line_of("interleave_probs"),
            str(weights.size(), " interleave_probs for ", n, " data sets"));
    return weights;
  }
  std::string path_of(const std::string& dataset, const std::string& folder) {
    const std::string info = join_path(folder, "dataset_info.json");
    if (!exists(info)) return exists(dataset) ? dataset : join_path(folder, dataset + ".json");
    const Json json = read_json(info, "[dataset_info.json] " + info);
    const Json* entry = json.is_object() ? json.get_object().if_contains(dataset) : nullptr;
    if (!entry || !entry->is_object()) {
      std::vector<std::string> names;
      if (json.is_object())
        for (const auto& e : json.get_object()) names.emplace_back(e.key());
      const std::string near = nearest_word(dataset, names);
      wrong(line_of("dataset"), str(info, " has no data set '", printable(dataset, 40), "'",
                                    near.empty() ? "" : "; did you mean " + near + "?"));
    }
    const Json* file = entry->get_object().if_contains("file_name");
    if (!file || !file->is_string())
      wrong(line_of("dataset"), str("'", printable(dataset, 40), "' of ", info,
                                    " has no file_name; data sets of a hub are not downloaded"));
    if (entry->get_object().contains("columns"))
      out_.ignored.push_back("columns of " + dataset +
                             ": the form of the records is found from their fields");
    return join_path(folder, std::string(std::string_view(file->get_string())));
  }
  void schedule() {
    const std::string type = take("lr_scheduler_type");
    if (type.empty()) return;
    if (type == "cosine" || type == "linear" || type == "constant")
      add("optim.schedule", type);
    else if (type == "constant_with_warmup")
      add("optim.schedule", "constant");
    else
      wrong(line_of("lr_scheduler_type"),
            str("no schedule ", printable(type, 40), "; cosine, linear and constant are known"));
    // Theirs fall to 0, and begin with warm-up where it is given.
    add("optim.min_lr", "0");
    if (!given_.contains("warmup_steps")) add("optim.warmup_steps", "0");
  }
  void adapter() {
    const std::string type = take("finetuning_type");
    if (type == "full") {
      take("lora_target");
      return;
    }
    if (type != "lora" && !type.empty())
      wrong(line_of("finetuning_type"),
            str("finetuning_type ", printable(type, 20), " is not supported; full and lora are"));
    if (type.empty()) return;
    const std::string target = take("lora_target");
    add("lora.targets", target.empty() || target == "all" ? "all-linear" : target);
    if (!given_.contains("lora_rank")) add("lora.rank", "8");
    if (!given_.contains("lora_alpha")) {
      const std::string rank = given_.contains("lora_rank") ? given_.at("lora_rank")->text : "8";
      add("lora.alpha", str(2 * std::strtoll(rank.c_str(), nullptr, 10)));
    }
    if (is_true(take("use_rslora"))) add("lora.scaling", "rslora");
    if (is_true(take("use_dora"))) add("lora.use_dora", "true");
  }

  std::string what_;
  std::map<std::string, const YamlNode*> given_;
  std::vector<std::string> order_;
  std::set<std::string> used_;
  ImportedConfig out_;
};

}  // namespace

ImportedConfig import_llama_factory(const std::string& text, const std::string& what) {
  const YamlNode root = parse_yaml(text, what);
  ImportedConfig out = Importer(root, what).run();
  if (out.keys.empty()) throw Error(what + ": holds no key that is known", ExitCode::usage);
  // Each value is checked as one of ours.
  RunConfig config;
  ConfigTable table;
  bind_run_keys(table, config);
  try {
    table.apply_overrides(out.keys);
  } catch (const Error& e) {
    throw Error(str(what, ": ", e.what()), ExitCode::usage);
  }
  return out;
}

std::string keys_to_yaml(const std::vector<std::string>& keys) {
  std::vector<std::string> groups;
  std::map<std::string, std::string> lines;
  std::string top;
  for (const std::string& entry : keys) {
    const size_t equals = entry.find('='), dot = entry.find('.');
    const std::string text = entry.substr(equals + 1);
    // A number or a truth value is written as it is, anything else as a string.
    char* end = nullptr;
    std::strtod(text.c_str(), &end);
    const bool plain = (!text.empty() && *end == 0) || text == "true" || text == "false";
    const bool is_list = text.starts_with("[{");
    const std::string value = plain || is_list ? text : yaml_string(text);
    if (dot > equals) {
      top += entry.substr(0, equals) + ": " + value + "\n";
      continue;
    }
    const std::string group = entry.substr(0, dot);
    if (!lines.contains(group)) groups.push_back(group);
    lines[group] += "  " + entry.substr(dot + 1, equals - dot - 1) + ": " + value + "\n";
  }
  for (const std::string& group : groups) top += group + ":\n" + lines[group];
  return top;
}

}  // namespace moe
