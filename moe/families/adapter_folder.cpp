// SPDX-License-Identifier: MIT
#include "moe/families/adapter_folder.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "moe/base/fs.h"
#include "moe/families/adapter_tensors.h"

namespace moe {
namespace {

constexpr const char *kConfig = "adapter_config.json", *kMixtureType = "MOE_LORA";

/// Strings of an array that may be absent or null.
std::vector<std::string> strings_of(const JsonReader& c, const char* key) {
  std::vector<std::string> out;
  if (!c.has(key)) return out;
  MOE_CHECK(c.at(key).is_array(), c.what(), ": ", key, " must be a list of names");
  for (const Json& item : c.at(key).get_array()) {
    MOE_CHECK(item.is_string(), c.what(), ": ", key, " must be a list of names");
    out.emplace_back(item.get_string());
  }
  return out;
}

std::vector<std::pair<std::string, double>> alphas_of(const JsonReader& c) {
  constexpr size_t kMax = 4096;
  std::vector<std::pair<std::string, double>> out;
  if (!c.has("alpha_pattern")) return out;
  const Json& patterns = c.at("alpha_pattern");
  MOE_CHECK(patterns.is_object() && patterns.get_object().size() <= kMax, c.what(),
            ": alpha_pattern must be an object of at most ", kMax, " numbers");
  const JsonReader each(patterns.get_object(), c.what() + ": alpha_pattern");
  for (const auto& [pattern, value] : patterns.get_object()) {
    const double alpha = each.number(pattern);
    MOE_CHECK(std::isfinite(alpha) && alpha != 0, c.what(), ": alpha_pattern: '",
              printable(pattern, 60), "' is ", alpha, "; that adapter would change nothing");
    out.emplace_back(pattern, alpha);
  }
  return out;
}

/// to's first columns = factor * from.
void copy_into(const Tensor& to, const Tensor& from, double factor) {
  with_elements(to, [&](auto out) {
    using Number = std::remove_reference_t<decltype(out[0])>;
    const auto in = from.data<Number>();
    for (int64_t r = 0; r < from.size(0); ++r)
      for (int64_t c = 0; c < from.size(1); ++c)
        out[size_t(r * to.size(1) + c)] = Number(factor * double(in[size_t(r * from.size(1) + c)]));
  });
}

/// Puts what a file holds on a site's part: a smaller rank is filled up with zeros, and another
/// scale than the part's goes into B.
void fill_part(const LoraSite& site, const LoraPart& part,
               const std::vector<StoredTarget>& targets) {
  for (const StoredTarget& stored : targets) {
    const auto at = std::find(part.targets.begin(), part.targets.end(), stored.name);
    if (at == part.targets.end()) continue;
    const auto i = size_t(at - part.targets.begin());
    for (size_t e = 0; e < stored.b.size(); ++e) {
      if (!stored.a[e] || !stored.b[e]) continue;  // a problem already
      const Tensor& b = stored.b[e];
      const Tensor wide = Tensor::zeros({b.size(0), part.rank}, b.dtype());
      Tensor a = stored.a[e];
      if (site.embedding) {
        const Tensor whole = Tensor::zeros({a.size(0), part.rank}, a.dtype());
        copy_into(whole, a, 1);
        a = whole;
      }
      copy_into(wide, b, stored.scale == part.scale ? 1 : stored.scale / part.scale);
      write_rows(part.a.value(), int64_t(e), site.embedding ? 0 : int64_t(i) * part.rank, a);
      write_rows(part.b[i].value(), int64_t(e), 0, wide);
    }
    for (size_t e = 0; e < stored.m.size(); ++e)
      if (stored.m[e])
        write_rows(part.m[i].value(), int64_t(e), 0, stored.m[e].reshape({stored.m[e].numel(), 1}));
  }
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
  MOE_CHECK(type == "LORA" || type == kMixtureType, what, ": peft_type is ", printable(type, 40),
            "; only LORA and our own ", kMixtureType, " are supported");
  if (type == kMixtureType) {
    MOE_CHECK(c.has("moe_lora") && c.at("moe_lora").is_object(), what,
              ": moe_lora must be an object with n_experts and top_k");
    const JsonReader mixture(c.at("moe_lora").get_object(), what + ": moe_lora");
    MoeLoraConfig& m = out.config.moe_lora;
    m.n_experts = mixture.integer("n_experts");
    m.top_k = mixture.integer("top_k");
    m.aux_loss_weight = mixture.number_or("aux_loss_weight", m.aux_loss_weight);
    MOE_CHECK(m.n_experts >= 1 && m.n_experts <= 1024 && m.top_k >= 1 && m.top_k <= m.n_experts,
              what, ": moe_lora has ", m.n_experts, " experts, of which a token takes ", m.top_k);
    MOE_CHECK(m.aux_loss_weight >= 0 && m.aux_loss_weight <= 1e6, what,
              ": moe_lora: aux_loss_weight is ", m.aux_loss_weight);
  }
  for (const char* key : {"fan_in_fan_out", "lora_bias", "use_qalora"})
    MOE_CHECK(!c.boolean_or(key, false), what, ": ", key, " is not supported");
  for (const char* key : {"modules_to_save", "layer_replication", "trainable_token_indices"}) {
    if (!c.has(key)) continue;
    const Json& value = c.at(key);
    const bool empty = (value.is_object() && value.get_object().empty()) ||
                       (value.is_array() && value.get_array().empty());
    MOE_CHECK(empty, what, ": ", key, " is not supported");
  }
  const std::string bias = c.string_or("bias", "none");
  MOE_CHECK(bias == "none", what, ": bias is ", printable(bias, 20), "; only none is supported");
  out.alpha_pattern = alphas_of(c);
  out.target_parameters = strings_of(c, "target_parameters");
  out.base = c.string_or("base_model_name_or_path", "");
  out.config.rank = c.integer("r");
  out.config.alpha = c.number_or("lora_alpha", 8);
  MOE_CHECK(out.config.rank >= 1 && out.config.rank <= 65536, what, ": r is ", out.config.rank,
            "; it must lie between 1 and 65536");
  MOE_CHECK(std::isfinite(out.config.alpha) && out.config.alpha != 0, what, ": lora_alpha is ",
            out.config.alpha, "; the adapter would change nothing");
  if (c.boolean_or("use_rslora", false)) out.config.scaling = "rslora";
  out.config.use_dora = c.boolean_or("use_dora", false);
  out.config.dropout = c.number_or("lora_dropout", 0);
  MOE_CHECK(out.config.dropout >= 0 && out.config.dropout < 1, what, ": lora_dropout is ",
            out.config.dropout, "; it must lie in [0, 1)");
  return out;
}

int load_adapter(TransformerLM& model, const std::string& folder) {
  AdapterTensors file(model, folder, read_adapter_info(folder));
  const bool mixture = file.info().config.moe_lora.n_experts > 0;
  MOE_CHECK(!mixture || (!model.config().has_moe && !model.mixture_sites().empty()), "[adapter] ",
            folder, ": its LoRA experts are for a dense model; it was made for another one");
  std::vector<LoraChoice> chosen;
  std::vector<std::vector<StoredTarget>> stored;
  size_t n_mixed = 0;
  for (const LoraSite& site : model.lora_sites()) {
    std::vector<StoredTarget> targets = file.of_site(site);
    if (targets.empty()) continue;
    LoraChoice choice{.site = site, .targets = {}, .config = file.info().config};
    choice.config.rank = 1;
    for (const StoredTarget& target : targets) {
      choice.targets.push_back(target.name);
      choice.config.rank = std::max(choice.config.rank, target.rank);
      choice.config.share_experts = target.shared;
      choice.mixture = target.mixture;
      if (target.shared != targets[0].shared)
        file.add_problem(str("some pairs of ", site.prefix, "experts are shared and some are not"));
    }
    n_mixed += choice.mixture ? 1 : 0;
    choice.config.scaling = "alpha";
    choice.config.alpha = targets[0].scale;
    chosen.push_back(std::move(choice));
    stored.push_back(std::move(targets));
  }
  MOE_CHECK(!chosen.empty(), "[adapter] ", folder,
            ": none of its tensors belongs to a matrix of this model; it was made for another one");
  // Each dense network has two weights: gate with up, and down.
  if (mixture && n_mixed != 2 * model.mixture_sites().size())
    file.add_problem(str("LoRA experts for ", n_mixed, " of ", 2 * model.mixture_sites().size(),
                         " weights of dense networks"));
  const int adapter = put_adapter(model, chosen, 0);
  try {
    file.read_routers(model, adapter);
    file.check_all_used();
  } catch (...) {
    drop_adapter(model, adapter);
    throw;
  }
  for (size_t i = 0; i < chosen.size(); ++i)
    fill_part(chosen[i].site, chosen[i].site.parts->back(), stored[i]);
  return adapter;
}

void load_adapter_weights(const TransformerLM& model, int adapter, const std::string& folder) {
  AdapterTensors file(model, folder, read_adapter_info(folder));
  std::vector<std::function<void()>> fills;
  for (const LoraSite& site : model.lora_sites()) {
    std::vector<StoredTarget> targets = file.of_site(site);
    for (const LoraPart& part : *site.parts) {
      if (part.adapter != adapter) continue;
      for (const size_t name : part.targets) {
        const auto found = std::find_if(targets.begin(), targets.end(),
                                        [&](const StoredTarget& t) { return t.name == name; });
        if (found == targets.end())
          file.add_problem("missing an adapter of " + site.path(name, -1));
        else if (found->rank != part.rank || found->shared != part.shared ||
                 found->mixture != part.mixture ||
                 int64_t(found->b.size()) != part.b[0].value().n_matrices())
          file.add_problem(str(site.path(name, -1), " has rank ", found->rank,
                               found->shared ? " for all experts" : "", ", wanted ", part.rank,
                               part.shared ? " for all experts" : ""));
        else
          found->scale = part.scale;
      }
      fills.emplace_back([site, part, targets] { fill_part(site, part, targets); });
    }
  }
  file.read_routers(model, adapter);
  file.check_all_used();
  for (const auto& fill : fills) fill();
}

void write_adapter_files(const AddFile& add_file, const TransformerLM& model, int adapter,
                         const LoraConfig& config, const std::string& base) {
  const AdapterFile file = adapter_file(model, adapter, config);
  // PEFT knows alpha / r and alpha / sqrt(r).
  const double alpha =
      config.scaling == "alpha" ? config.alpha * double(config.rank) : config.alpha;
  const auto list = [](const std::vector<std::string>& names) {
    JsonArray out;
    for (const std::string& name : names) out.push_back(Json(name));
    return out;
  };
  JsonObject ranks, alphas;
  for (const std::string& name : file.doubled) {
    ranks[name] = 2 * config.rank;
    alphas[name] = alpha * (config.scaling == "rslora" ? std::sqrt(2.0) : 2.0);
  }
  const bool mixture = config.moe_lora.n_experts > 0;
  JsonObject json{
      {"peft_type", mixture ? kMixtureType : "LORA"},
      {"task_type", "CAUSAL_LM"},
      {"base_model_name_or_path", base},
      {"r", config.rank},
      {"lora_alpha", alpha},
      {"use_rslora", config.scaling == "rslora"},
      // PEFT has no dropout on parameters; what it computes in use is the same.
      {"lora_dropout", file.target_parameters.empty() ? config.dropout : 0.0},
      {"target_modules", list(file.target_modules)},
      {"target_parameters",
       file.target_parameters.empty() ? Json(nullptr) : Json(list(file.target_parameters))},
      {"rank_pattern", ranks},
      {"alpha_pattern", alphas},
      {"bias", "none"},
      {"fan_in_fan_out", false},
      {"inference_mode", true},
      {"use_dora", config.use_dora}};
  if (mixture)
    json["moe_lora"] = JsonObject{{"n_experts", config.moe_lora.n_experts},
                                  {"top_k", config.moe_lora.top_k},
                                  {"aux_loss_weight", config.moe_lora.aux_loss_weight}};
  add_file(kConfig, [&](const ByteSink& sink) { sink(as_bytes(to_json_pretty(json))); });
  add_file("adapter_model.safetensors",
           [&](const ByteSink& sink) { write_safetensors(sink, file.tensors, file.metadata); });
}

}  // namespace moe
