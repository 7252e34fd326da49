// SPDX-License-Identifier: MIT
#include "moe/families/adapter_folder.h"

#include <cmath>
#include <map>
#include <set>

#include "moe/base/fs.h"
#include "moe/io/safetensors_folder.h"

namespace moe {
namespace {

constexpr const char *kConfig = "adapter_config.json", *kStem = "adapter_model",
                     *kPrefix = "base_model.model.";

/// A module's path as the family's files call it.
std::string module_name(const ModelConfig& config, const Family& family, const std::string& path) {
  const TensorPlace place = family.places(config, path + ".weight").front();
  // A part of a stored tensor is no module of its own there.
  if (place.transposed || place.total_rows >= 0 || place.matrix >= 0 ||
      !ends_with(place.name, ".weight"))
    return path;
  return place.name.substr(0, place.name.size() - std::string(".weight").size());
}

/// "...experts.up_proj": one pair for all experts.
bool is_shared_path(const std::string& path) {
  const size_t at = path.find(".experts.");
  return at != std::string::npos && path.find('.', at + 9) == std::string::npos;
}

std::string file_module(const ModelConfig& config, const Family& family, const std::string& path) {
  return kPrefix + (is_shared_path(path) ? path : module_name(config, family, path));
}

/// A piece of an adapter's parameter, "path.lora_A.weight", in the file.
std::string file_name_of(const ModelConfig& config, const Family& family, const std::string& name) {
  const size_t at = name.find(".lora_");
  return file_module(config, family, name.substr(0, at)) + name.substr(at);
}

bool is_embedding_table(const Piece& piece) { return ends_with(piece.name, ".lora_embedding_A"); }

Tensor transpose(const Tensor& t) {
  const int64_t rows = t.size(0), cols = t.size(1);
  const Tensor out = Tensor::empty({cols, rows}, t.dtype());
  with_elements(out, [&](auto to) {
    using Number = std::remove_reference_t<decltype(to[0])>;
    const auto from = t.data<Number>();
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) to[size_t(c * rows + r)] = from[size_t(r * cols + c)];
  });
  return out;
}

/// "q_proj" where every such matrix of the model has an adapter, else whole paths.
JsonArray target_modules(const TransformerLM& model, int adapter, const Family& family) {
  std::map<std::string, std::pair<int64_t, std::vector<std::string>>> of_name;  // all, adapted
  for (const LoraSite& site : model.lora_sites()) {
    const int64_t n = std::max<int64_t>(1, site.n_experts());
    for (size_t i = 0; i < site.names.size(); ++i)
      for (int64_t e = 0; e < n; ++e) {
        const std::string path =
            module_name(model.config(), family, site.path(i, site.n_experts() > 0 ? e : -1));
        auto& [all, adapted] = of_name[path.substr(path.rfind('.') + 1)];
        ++all;
        for (const LoraPart& part : *site.parts) {
          if (part.adapter != adapter) continue;
          for (const size_t t : part.targets)
            if (t == i) adapted.push_back(path);
        }
      }
  }
  JsonArray out;
  for (const auto& [name, entry] : of_name) {
    const auto& [all, adapted] = entry;
    if (all == std::ssize(adapted) && all > 0)
      out.push_back(Json(name));
    else
      for (const std::string& path : adapted) out.push_back(Json(path));
  }
  return out;
}

std::string list_some(const std::vector<std::string>& names) {
  std::vector<std::string> some;
  for (size_t i = 0; i < std::min<size_t>(3, names.size()); ++i)
    some.push_back(printable(names[i], 160));
  return join(some, ", ") +
         (names.size() > 3 ? str(" and ", names.size() - 3, " more") : std::string());
}

}  // namespace

bool is_adapter_folder(const std::string& folder) { return exists(join_path(folder, kConfig)); }

AdapterInfo read_adapter_info(const std::string& folder) {
  const std::string path = join_path(folder, kConfig), what = "[adapter_config.json] " + path;
  const Json json = read_json(path, what);
  MOE_CHECK(json.is_object(), what, ": must be an object");
  const JsonReader c(json.get_object(), what);
  AdapterInfo out;
  const std::string type = c.string_or("peft_type", "LORA");
  MOE_CHECK(type == "LORA", what, ": peft_type is ", printable(type, 40),
            "; only LORA is supported");
  for (const char* key : {"fan_in_fan_out", "lora_bias", "use_qalora"})
    MOE_CHECK(!c.boolean_or(key, false), what, ": ", key, " is not supported");
  for (const char* key :
       {"alpha_pattern", "modules_to_save", "target_parameters", "layer_replication"}) {
    if (!c.has(key)) continue;
    const Json& value = c.at(key);
    const bool empty = (value.is_object() && value.get_object().empty()) ||
                       (value.is_array() && value.get_array().empty());
    MOE_CHECK(empty, what, ": ", key, " is not supported");
  }
  const std::string bias = c.string_or("bias", "none");
  MOE_CHECK(bias == "none", what, ": bias is ", printable(bias, 20), "; only none is supported");
  out.base = c.string_or("base_model_name_or_path", "");
  out.config.rank = c.integer("r");
  out.config.alpha = c.number_or("lora_alpha", 8);
  MOE_CHECK(out.config.rank >= 1 && out.config.rank <= 65536, what, ": r is ", out.config.rank,
            "; it must lie between 1 and 65536");
  MOE_CHECK(std::isfinite(out.config.alpha), what, ": lora_alpha is no number");
  if (c.boolean_or("use_rslora", false)) out.config.scaling = "rslora";
  out.config.use_dora = c.boolean_or("use_dora", false);
  out.config.dropout = c.number_or("lora_dropout", 0);
  MOE_CHECK(out.config.dropout >= 0 && out.config.dropout < 1, what, ": lora_dropout is ",
            out.config.dropout, "; it must lie in [0, 1)");
  return out;
}

int load_adapter(TransformerLM& model, const std::string& folder) {
  const AdapterInfo info = read_adapter_info(folder);
  const SafetensorsFolder files(folder, kStem);
  const Family& family = family_for(model.config());
  std::vector<LoraChoice> chosen;
  for (const LoraSite& site : model.lora_sites()) {
    LoraChoice choice{.site = site, .targets = {}, .config = info.config};
    const std::string end = site.embedding ? ".lora_embedding_A" : ".lora_A.weight";
    const auto find = [&](size_t name, int64_t expert) {
      return files.find(file_name_of(model.config(), family, site.path(name, expert) + end));
    };
    for (size_t i = 0; i < site.names.size(); ++i) {
      const bool stacked = site.n_experts() > 0, shared = stacked && find(i, -1);
      const SafetensorsFolder::Item* item = find(i, stacked && !shared ? 0 : -1);
      if (!item) continue;
      MOE_CHECK(item->entry->shape().rank() == 2, "[adapter] ", folder, ": '", item->entry->name,
                "' is ", item->entry->shape_text(), ", wanted a matrix");
      choice.config.rank = item->entry->shape()[0];
      choice.config.share_experts = shared;
      MOE_CHECK(choice.config.rank >= 1 && choice.config.rank <= 65536, "[adapter] ", folder, ": '",
                item->entry->name, "' has rank ", choice.config.rank);
      choice.targets.push_back(i);
    }
    if (!choice.targets.empty()) chosen.push_back(std::move(choice));
  }
  MOE_CHECK(!chosen.empty(), "[adapter] ", folder,
            ": none of its tensors belongs to a matrix of this model; it was made for another one");
  const int adapter = put_adapter(model, chosen, 0);
  try {
    load_adapter_weights(model, adapter, folder);
  } catch (...) {
    drop_adapter(model, adapter);
    throw;
  }
  return adapter;
}

void load_adapter_weights(const TransformerLM& model, int adapter, const std::string& folder) {
  const SafetensorsFolder files(folder, kStem);
  const Family& family = family_for(model.config());
  std::set<std::string> used;
  std::vector<std::string> problems, unexpected;
  for (const Parameter& p : adapter_parameters(model, adapter))
    for (const Piece& piece : p.pieces) {
      const std::string name = file_name_of(model.config(), family, piece.name);
      const SafetensorsFolder::Item* item = files.find(name);
      if (!item) {
        problems.push_back("missing " + name);
        continue;
      }
      used.insert(name);
      Shape wanted = piece_shape(p, piece);
      if (is_embedding_table(piece)) wanted = {wanted[1], wanted[0]};
      if (item->entry->shape_text() != wanted.text() || !is_floating(item->entry->dtype)) {
        problems.push_back(str("'", name, "' is ", dtype_name(item->entry->dtype), " ",
                               item->entry->shape_text(), ", wanted ", wanted.text()));
        continue;
      }
      const Tensor values = files.tensor(name).to(p.var.dtype());
      write_piece(p.var.value(), piece, is_embedding_table(piece) ? transpose(values) : values);
    }
  for (const SafetensorsFolder::Item& item : files.items())
    if (!used.contains(item.entry->name)) unexpected.push_back(item.entry->name);
  if (!unexpected.empty()) problems.push_back("unexpected: " + list_some(unexpected));
  MOE_CHECK(problems.empty(), "[adapter] ", folder,
            " does not fit this model: ", list_some(problems), "; it was made for another one");
}

void write_adapter_files(const AddFile& add_file, const TransformerLM& model, int adapter,
                         const LoraConfig& config, const std::string& base) {
  const Family& family = family_for(model.config());
  // PEFT knows alpha / r and alpha / sqrt(r).
  const double alpha =
      config.scaling == "alpha" ? config.alpha * double(config.rank) : config.alpha;
  const JsonObject json{{"peft_type", "LORA"},
                        {"task_type", "CAUSAL_LM"},
                        {"base_model_name_or_path", base},
                        {"r", config.rank},
                        {"lora_alpha", alpha},
                        {"use_rslora", config.scaling == "rslora"},
                        {"lora_dropout", config.dropout},
                        {"target_modules", target_modules(model, adapter, family)},
                        {"bias", "none"},
                        {"fan_in_fan_out", false},
                        {"inference_mode", true},
                        {"use_dora", config.use_dora}};
  add_file(kConfig, [&](const ByteSink& sink) { sink(as_bytes(to_json_pretty(json))); });
  std::vector<TensorSource> tensors;
  for (const Parameter& p : adapter_parameters(model, adapter))
    for (const Piece& piece : p.pieces) {
      const Tensor values = read_piece(p.var.value(), piece);
      tensors.push_back(tensor_source(file_name_of(model.config(), family, piece.name),
                                      is_embedding_table(piece) ? transpose(values) : values));
    }
  add_file(str(kStem, ".safetensors"), [&](const ByteSink& sink) {
    write_safetensors(sink, tensors, {{"format", "pt"}});
  });
}

}  // namespace moe
