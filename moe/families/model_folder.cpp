// SPDX-License-Identifier: MIT
#include "moe/families/model_folder.h"

#include "moe/base/fs.h"
#include "moe/base/log.h"
#include "moe/base/yaml_tree.h"
#include "moe/families/adapter_folder.h"
#include "moe/families/hf_config.h"
#include "moe/families/weights.h"
#include "moe/io/checkpoint.h"
#include "moe/io/safetensors_folder.h"
#include "moe/text/tokenizer_files.h"
#include "moe/text/tokenizer_json.h"

namespace moe {
namespace {

struct ConfigFile {
  Json json;
  const Family* family;
  ModelConfig model;
  std::vector<int32_t> eos_ids;
};

// One id, a list of ids, or null. An id outside the vocabulary can never be drawn and is left out:
// transformers writes GPT-2's 50256 into the config of any small GPT-2.
std::vector<int32_t> read_eos(const JsonObject& object, const std::string& what,
                              int64_t vocab_size) {
  std::vector<int32_t> ids;
  const Json* value = object.if_contains("eos_token_id");
  if (!value || value->is_null()) return ids;
  auto add = [&](const Json& v) {
    MOE_CHECK(v.is_int64() && v.get_int64() >= 0, what,
              ": eos_token_id must be a token id or a list of them");
    if (v.get_int64() < vocab_size) ids.push_back(int32_t(v.get_int64()));
  };
  if (value->is_array())
    for (const Json& v : value->get_array()) add(v);
  else
    add(*value);
  return ids;
}

// Ranges as in a configuration of our own, then the relations between keys.
void check_model_config(const ModelConfig& model, const std::string& what) {
  ModelConfig copy = model;
  ConfigTable table;
  bind_model_keys(table, copy);
  try {
    for (const ConfigKey& key : table.keys())
      if (model.has_moe || !starts_with(key.path, "model.moe.")) key.set(key.get());
    resolve_layers(model);
  } catch (const Error& e) {
    throw Error(str(what, ": ", e.what()));
  }
}

ConfigFile read_config_file(const std::string& folder) {
  const std::string path = join_path(folder, "config.json"), what = "[config.json] " + path;
  MOE_CHECK(
      exists(path) || !is_adapter_folder(folder), what.substr(0, 14), printable(folder),
      " is a low-rank adapter, no model of its own; make one of the two first: moe merge BASE "
      "--adapter ",
      printable(folder), " --out DIR");
  ConfigFile file{.json = read_json(path, what), .family = nullptr, .model = {}, .eos_ids = {}};
  MOE_CHECK(file.json.is_object(), what, ": must be an object");
  const JsonReader reader(file.json.get_object(), what);
  file.family = &find_family(reader.string("model_type"), what);
  file.model = file.family->read_config(reader);
  check_model_config(file.model, what);
  const std::string generation = join_path(folder, "generation_config.json");
  if (exists(generation)) {
    const Json g = read_json(generation, "[generation_config.json] " + generation);
    MOE_CHECK(g.is_object(), "[generation_config.json] ", generation, ": must be an object");
    file.eos_ids = read_eos(g.get_object(), generation, file.model.vocab_size);
  }
  if (file.eos_ids.empty())
    file.eos_ids = read_eos(file.json.get_object(), what, file.model.vocab_size);
  return file;
}

// The YAML head of a model card.
std::string front_matter(const ModelConfig& model, const Family& family, const ModelCard& card) {
  std::string out = "---\n";
  const auto line = [&](const char* key, const std::string& value) {
    if (!value.empty()) out += str(key, ": ", yaml_string(value), "\n");
  };
  line("license", card.license);
  line("language", card.language);
  line("library_name", "moe.cpp");
  line("pipeline_tag", "text-generation");
  line("base_model", card.base_model);
  if (!card.datasets.empty()) out += "datasets:\n";
  for (const std::string& dataset : card.datasets) out += str("- ", yaml_string(dataset), "\n");
  out += str("tags:\n- ", model.has_moe ? "mixture-of-experts" : "dense", "\n- ", family.model_type,
             "\n---\n");
  return out;
}

// The optimiser's state may be damaged or big; who only reads the model need not look at it.
bool holds_the_model(const std::string& name) { return !starts_with(name, "optimizer"); }

// A checkpoint that was named by itself is read even when it is damaged, but not in silence; of a
// run folder only valid ones are taken.
void warn_of_damage(const std::string& folder) {
  if (!exists(join_path(folder, kManifestName))) return;
  const std::vector<CheckpointProblem> problems = verify_checkpoint(folder, holds_the_model);
  if (problems.empty()) return;
  log_warning(str("[model] ", printable(folder), " does not fit its manifest (",
                  problems.front().text(),
                  problems.size() > 1 ? str(", and ", problems.size() - 1, " more") : std::string(),
                  "); `moe verify` lists all"));
}

}  // namespace

const Tokenizer& ModelFolder::need_tokenizer() const {
  MOE_CHECK(tokenizer, "[tokenizer] ", path, ": ", no_tokenizer_reason,
            "; token ids (--ids 1,2,3) need no tokenizer");
  return *tokenizer;
}

std::string resolve_model_folder(const std::string& path) {
  MOE_CHECK(exists(path), "[model] '", printable(path),
            "' does not exist; give a run folder, a checkpoint or a Hugging Face folder");
  MOE_CHECK(is_directory(path), "[model] '", printable(path),
            "' is a file; give a run folder, a checkpoint or a Hugging Face folder");
  if (exists(join_path(path, "config.json")) || is_adapter_folder(path)) return path;
  if (is_directory(join_path(path, "checkpoints"))) {
    const NewestCheckpoint newest = newest_valid_checkpoint(path, holds_the_model);
    if (!newest.path.empty()) return newest.path;
    throw Error(str("[model] '", printable(path), "' is a run folder without a valid checkpoint",
                    newest.skipped.empty() ? std::string("; train first")
                                           : "; the newest one: " + newest.skipped.front().reason));
  }
  throw Error(str("[model] '", printable(path),
                  "' holds no config.json and no checkpoints; give a run folder, a checkpoint or a "
                  "Hugging Face folder"));
}

ModelConfig read_model_config(const std::string& folder) { return read_config_file(folder).model; }

namespace {

/// The model that an adapter was trained on: as its configuration names it, from here or from the
/// adapter's folder.
std::string base_of_adapter(const std::string& folder) {
  const std::string base = read_adapter_info(folder).base;
  for (const std::string& path : {base, join_path(folder, base)})
    if (!base.empty() && exists(path)) return path;
  throw Error(
      str("[adapter] ", printable(folder), ": its base model '", printable(base),
          "' does not exist here; give the model's folder, and the adapter with --adapter"));
}

void read_folder_tokenizer(ModelFolder& out, const std::string& folder) {
  const std::string tokenizer = join_path(folder, "tokenizer.json");
  if (!exists(tokenizer)) {
    out.no_tokenizer_reason = "there is no tokenizer.json";
    return;
  }
  try {
    out.tokenizer = read_tokenizer(tokenizer);
  } catch (const Error& e) {
    out.no_tokenizer_reason = e.what();
  }
}

}  // namespace

int add_adapter_folder(ModelFolder& folder, const std::string& path) {
  const std::string found = resolve_model_folder(path);
  MOE_CHECK(is_adapter_folder(found), "[adapter] ", printable(path),
            " holds no adapter_config.json; give a folder that lora training or PEFT wrote");
  const int adapter = load_adapter(*folder.model, found);
  folder.adapters.push_back(path);
  return adapter;
}

ModelFolder load_model_folder(const std::string& path, DType dtype) {
  ModelFolder out;
  out.path = resolve_model_folder(path);
  if (out.path == path) warn_of_damage(path);
  if (is_adapter_folder(out.path) && !exists(join_path(out.path, "config.json"))) {
    const std::string folder = out.path;
    out = load_model_folder(base_of_adapter(folder), dtype);
    out.model->use_adapter(add_adapter_folder(out, folder));
    out.path = folder;
    if (exists(join_path(folder, "tokenizer.json"))) read_folder_tokenizer(out, folder);
    const std::string generation = join_path(folder, "generation_config.json");
    if (exists(generation)) {
      const Json g = read_json(generation, "[generation_config.json] " + generation);
      MOE_CHECK(g.is_object(), "[generation_config.json] ", generation, ": must be an object");
      out.eos_ids = read_eos(g.get_object(), generation, out.model->config().vocab_size);
    }
    return out;
  }
  const ConfigFile config = read_config_file(out.path);
  out.model_type = config.family->model_type;
  out.eos_ids = config.eos_ids;
  check_weights_present(out.path, config.model, *config.family);
  out.model = std::make_unique<TransformerLM>(config.model, dtype);
  read_weights(*out.model, out.path, *config.family);
  read_folder_tokenizer(out, out.path);
  return out;
}

void load_weights(const TransformerLM& model, const std::string& folder) {
  const ConfigFile config = read_config_file(folder);
  read_weights(model, folder, *config.family);
}

namespace {

/// An id, a list of them, or null.
Json eos_json(const std::vector<int32_t>& ids) {
  if (ids.empty()) return nullptr;
  if (ids.size() == 1) return ids[0];
  return JsonArray(ids.begin(), ids.end());
}

}  // namespace

void write_text_files(const AddFile& add_file, const Tokenizer* tokenizer,
                      const std::vector<int32_t>& eos_ids) {
  const auto add_text = [&](const std::string& name, const std::string& text) {
    add_file(name, [&](const ByteSink& sink) { sink(as_bytes(text)); });
  };
  add_text("generation_config.json",
           to_json_pretty(JsonObject{{"eos_token_id", eos_json(eos_ids)}}));
  if (!tokenizer) return;
  add_text("tokenizer.json", tokenizer_to_json(*tokenizer));
  add_text("tokenizer_config.json", tokenizer_config_json(*tokenizer));
}

void write_model_files(const AddFile& add_file, const TransformerLM& model,
                       const Tokenizer* tokenizer, const std::vector<int32_t>& eos_ids,
                       const ModelCard& card, uint64_t max_shard_bytes) {
  const ModelConfig& m = model.config();
  const Family& family = family_for(m);
  JsonObject config;
  config["architectures"] = nullptr;
  config["model_type"] = family.model_type;
  const Family::Written written = family.write_config(m);
  for (const auto& entry : written.config) config[entry.key()] = entry.value();
  config["vocab_size"] = m.vocab_size;
  for (const char* key : {"dtype", "torch_dtype"})
    config[key] = model.dtype() == DType::f64 ? "float64" : "float32";
  for (const char* key : {"bos_token_id", "pad_token_id"}) config[key] = nullptr;
  config["eos_token_id"] = eos_json(eos_ids);
  if (&family != &find_family("moe_cpp", "")) {
    config["moe_cpp"] = training_keys(m);
  }
  auto add_text = [&](const std::string& name, const std::string& text) {
    add_file(name, [&](const ByteSink& sink) { sink(as_bytes(text)); });
  };
  add_text("config.json", to_json_pretty(config));
  write_text_files(add_file, tokenizer, eos_ids);
  add_text("README.md", str(front_matter(m, family, card), "\n# ", card.title, "\n\n", card.text));
  write_safetensors_shards(add_file, model_tensors(model, family), {{"format", "pt"}},
                           max_shard_bytes);
}

}  // namespace moe
