// SPDX-License-Identifier: MIT
#include "moe/families/adapter_tensors.h"

#include <algorithm>
#include <cmath>

#include "moe/text/regex.h"

namespace moe {
namespace {

constexpr const char* kPrefix = "base_model.model.";
constexpr const char* kStem = "adapter_model";
// What PEFT's form cannot say, in the file's metadata.
constexpr const char *kShared = "moe.shared_experts", *kHalves = "moe.gate_up_halves";
constexpr int64_t kMaxRank = 65536;

/// A module's path as the family's files call it.
std::string module_name(const ModelConfig& config, const Family& family, const std::string& path) {
  // "...experts.up_proj", a pair for all experts, is no module of any family.
  const size_t at = path.find(".experts.");
  if (at != std::string::npos && path.find('.', at + 9) == std::string::npos) return path;
  const TensorPlace place = family.places(config, path + ".weight").front();
  // A part of a stored tensor is no module of its own there.
  if (place.transposed || place.total_rows >= 0 || place.matrix >= 0 ||
      !ends_with(place.name, ".weight"))
    return path;
  return place.name.substr(0, place.name.size() - std::string(".weight").size());
}

bool is_of_transformers(const Family& family) {
  return std::string(family.model_type) != "moe_cpp";
}

std::string last_part(const std::string& path) { return path.substr(path.rfind('.') + 1); }

/// The stacked parameter of transformers that holds a site's matrices; empty: there is none.
std::string stack_name(const LoraSite& site) {
  if (site.n_experts() == 0) return "";
  if (site.names == std::vector<std::string>{"gate_proj", "up_proj"}) return "gate_up_proj";
  return site.names == std::vector<std::string>{"down_proj"} ? "down_proj" : "";
}

bool is_zero(const Tensor& t) {
  bool zero = true;
  with_elements(t, [&](auto values) {
    zero = std::all_of(values.begin(), values.end(), [](auto x) { return x == 0; });
  });
  return zero;
}

/// Rows [row, row + n) and columns [begin, begin + width) of row-major values.
Tensor block(const Tensor& t, int64_t row, int64_t n, int64_t begin, int64_t width) {
  const Tensor out = Tensor::empty({n, width}, t.dtype());
  with_elements(out, [&](auto to) {
    using Number = std::remove_reference_t<decltype(to[0])>;
    const auto from = t.data<Number>();
    for (int64_t r = 0; r < n; ++r)
      std::copy_n(from.begin() + (row + r) * t.size(1) + begin, width, to.begin() + r * width);
  });
  return out;
}

/// lora_B [out, r * E], expert fastest, of one expert: [out, r]; and back.
Tensor of_expert(const Tensor& stack, int64_t e, int64_t n_experts) {
  const Tensor out = Tensor::empty({stack.size(0), stack.size(1) / n_experts}, stack.dtype());
  with_elements(out, [&](auto to) {
    using Number = std::remove_reference_t<decltype(to[0])>;
    const auto from = stack.data<Number>();
    for (int64_t i = 0; i < out.numel(); ++i) to[size_t(i)] = from[size_t(i * n_experts + e)];
  });
  return out;
}
void put_expert(const Tensor& stack, int64_t e, int64_t n_experts, const Tensor& values) {
  with_elements(stack, [&](auto to) {
    using Number = std::remove_reference_t<decltype(to[0])>;
    const auto from = values.data<Number>();
    for (int64_t i = 0; i < values.numel(); ++i) to[size_t(i * n_experts + e)] = from[size_t(i)];
  });
}

std::string list_some(const std::vector<std::string>& names) {
  std::vector<std::string> some;
  for (size_t i = 0; i < std::min<size_t>(3, names.size()); ++i)
    some.push_back(printable(names[i], 160));
  return join(some, ", ") +
         (names.size() > 3 ? str(" and ", names.size() - 3, " more") : std::string());
}

/// PEFT's match of a pattern with a module: a name, or a regular expression, for the end of its
/// path.
bool answers(const std::string& pattern, const std::string& path) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
  if (pattern.find_first_not_of(kPlain) == std::string::npos)
    return path == pattern || ends_with(path, "." + pattern);
  const Regex regex("\\A(?:.*\\.)?(?:" + pattern + ")\\z", "[adapter_config.json] alpha_pattern");
  return Regex::Search(regex, path).next().begin != std::string::npos;
}

}  // namespace

AdapterTensors::AdapterTensors(const TransformerLM& model, const std::string& folder,
                               AdapterInfo info)
    : model_(model),
      folder_(folder),
      info_(std::move(info)),
      family_(family_for(model.config())),
      files_(folder, kStem) {}

std::vector<std::string> AdapterTensors::names_of(const std::string& path,
                                                  const std::string& end) const {
  return {kPrefix + module_name(model_.config(), family_, path) + end, kPrefix + path + end};
}

const SafetensorsFolder::Item* AdapterTensors::find(const std::vector<std::string>& names) const {
  for (const std::string& name : names)
    if (const SafetensorsFolder::Item* item = files_.find(name)) return item;
  return nullptr;
}

Tensor AdapterTensors::take(const std::vector<std::string>& names, const Shape& shape) {
  const SafetensorsFolder::Item* item = find(names);
  if (!item) {
    problems_.push_back("missing " + names[0]);
    return {};
  }
  const SafetensorsEntry& entry = *item->entry;
  used_.insert(entry.name);
  if (entry.shape_text() != shape.text() || !is_floating(entry.dtype)) {
    problems_.push_back(str("'", entry.name, "' is ", dtype_name(entry.dtype), " ",
                            entry.shape_text(), ", wanted ", shape.text()));
    return {};
  }
  return files_.tensor(entry.name).to(model_.dtype());
}

double AdapterTensors::scale_of(const std::string& path, int64_t rank) const {
  LoraConfig config = info_.config;
  const double usual = lora_scale(config);
  config.rank = rank;
  for (const auto& [pattern, alpha] : info_.alpha_pattern)
    if (answers(pattern, path) || answers(pattern, module_name(model_.config(), family_, path))) {
      config.alpha = alpha;
      break;
    }
  const double scale = lora_scale(config);
  // A pattern that only undoes another rank: the same number, without its rounding.
  return std::abs(scale - usual) <= 1e-12 * std::abs(usual) ? usual : scale;
}

bool AdapterTensors::read_module(const LoraSite& site, StoredTarget& target,
                                 const std::string& path) {
  const auto names = [&](const char* end) { return names_of(path, end); };
  const std::vector<std::string> a_names =
      names(site.embedding ? ".lora_embedding_A" : ".lora_A.weight");
  const SafetensorsFolder::Item* item = find(a_names);
  if (!item) return false;
  const Shape shape = item->entry->shape();
  if (shape.rank() != 2 || shape[0] < 1 || shape[0] > kMaxRank) {
    problems_.push_back(str("'", item->entry->name, "' is ", item->entry->shape_text(),
                            ", wanted a matrix of 1 to ", kMaxRank, " rows"));
    used_.insert(item->entry->name);
    return true;
  }
  const int64_t rank = target.rank == 0 ? shape[0] : target.rank;
  const int64_t in = site.weight.shape()[-1], rows = site.sizes[target.name];
  if (target.rank == 0) {
    target.rank = rank;
    target.scale = scale_of(path, rank);
  }
  Tensor a = take(a_names, {rank, site.embedding ? rows : in});
  if (a && site.embedding) a = transposed(a);
  target.a.push_back(a);
  target.b.push_back(take(names(site.embedding ? ".lora_embedding_B" : ".lora_B.weight"),
                          {site.embedding ? in : rows, rank}));
  // Where the pair is shared, each expert has its own magnitudes.
  if (info_.config.use_dora && !target.shared)
    target.m.push_back(take(names(".lora_magnitude_vector"), {site.embedding ? in : rows}));
  const double scale = scale_of(path, rank);
  if (scale != target.scale && target.b.back())
    with_elements(target.b.back(), [&](auto values) {
      using Number = std::remove_reference_t<decltype(values[0])>;
      for (Number& x : values) x = Number(double(x) * scale / target.scale);
    });
  return true;
}

std::vector<StoredTarget> AdapterTensors::of_stack(const LoraSite& site) {
  const std::string name = stack_name(site);
  if (name.empty()) return {};
  const std::string stem = site.prefix + "experts", path = stem + "." + name;
  const auto names = [&](const std::string& where, const char* end) {
    return std::vector<std::string>{kPrefix + where + end};
  };
  // PEFT wraps the experts once for each parameter, gate_up_proj first.
  const bool nested = find(names(stem + ".base_layer", ".lora_A.weight")) != nullptr;
  if (!nested &&
      std::none_of(info_.target_parameters.begin(), info_.target_parameters.end(),
                   [&](const std::string& t) { return path == t || ends_with(path, "." + t); }))
    return {};
  const std::string where = nested && name == "gate_up_proj" ? stem + ".base_layer" : stem;
  const SafetensorsFolder::Item* item = find(names(where, ".lora_A.weight"));
  if (!item) return {};
  const int64_t E = site.n_experts(), in = site.weight.shape()[-1], out = site.weight.shape()[-2];
  const Shape shape = item->entry->shape();
  if (shape.rank() != 2 || shape[0] < E || shape[0] % E != 0 || shape[0] / E > kMaxRank) {
    problems_.push_back(str("'", item->entry->name, "' is ", item->entry->shape_text(),
                            ", wanted a matrix whose rows are a multiple of ", E, " experts"));
    used_.insert(item->entry->name);
    return {};
  }
  const int64_t rank = shape[0] / E;
  const Tensor a = take(names(where, ".lora_A.weight"), {E * rank, in}),
               b = take(names(where, ".lora_B.weight"), {out, rank * E});
  if (!a || !b) return {};
  // gate's and up's own pairs side by side are [a of gate; a of up] and a block-diagonal b.
  const int64_t F = site.sizes[0], half = rank / 2;
  const auto& about = files_.metadata();
  bool halves = false;
  if (site.names.size() == 2 && rank % 2 == 0) {
    halves = is_zero(block(b, 0, F, half * E, half * E)) && is_zero(block(b, F, F, 0, half * E));
    if (is_zero(b)) halves = about.contains(kHalves);
  }
  const bool shared = about.contains(kShared);
  std::vector<StoredTarget> found;
  for (size_t i = 0; i < site.names.size(); ++i) {
    const int64_t r = halves ? half : rank, begin = halves && i == 1 ? half : 0;
    StoredTarget target{
        .name = i, .shared = shared, .rank = r, .scale = scale_of(path, rank), .a = {}, .b = {}};
    const int64_t row = i == 0 ? 0 : F;
    const bool silent = is_zero(block(b, row, site.sizes[i], 0, rank * E)) && !is_zero(b);
    if (silent && !halves) continue;  // a pair for the other half alone
    for (int64_t e = 0; e < E; ++e) {
      target.a.push_back(block(a, e * rank + begin, r, 0, in));
      target.b.push_back(block(of_expert(b, e, E), row, site.sizes[i], begin, r));
      if (!shared || e == 0) continue;
      if (!same_bits(target.a[0], target.a.back()) || !same_bits(target.b[0], target.b.back()))
        problems_.push_back(str("'", item->entry->name, "' should be one pair for all experts"));
      target.a.pop_back();
      target.b.pop_back();
    }
    found.push_back(std::move(target));
  }
  return found;
}

std::vector<StoredTarget> AdapterTensors::of_site(const LoraSite& site) {
  std::vector<StoredTarget> out;
  const int64_t E = site.n_experts();
  if (const int64_t n = info_.config.moe_lora.n_experts;
      n > 0 && find(names_of(mixture_path(site, 0, 0), ".lora_A.weight"))) {
    for (size_t i = 0; i < site.names.size(); ++i) {
      StoredTarget target{.name = i, .mixture = true, .a = {}, .b = {}};
      for (int64_t e = 0; e < n; ++e)
        if (!read_module(site, target, mixture_path(site, i, e)))
          problems_.push_back("missing " + names_of(mixture_path(site, i, e), ".lora_A.weight")[0]);
      out.push_back(std::move(target));
    }
    return out;
  }
  for (size_t i = 0; i < site.names.size(); ++i) {
    StoredTarget target{.name = i, .shared = E > 0, .a = {}, .b = {}};
    if (!read_module(site, target, site.path(i, -1))) {
      if (E == 0) continue;
      target.shared = false;
      if (!read_module(site, target, site.path(i, 0))) continue;
      for (int64_t e = 1; e < E; ++e)
        if (!read_module(site, target, site.path(i, e)))
          problems_.push_back("missing " + names_of(site.path(i, e), ".lora_A.weight")[0]);
    }
    if (info_.config.use_dora && target.shared)
      for (int64_t e = 0; e < E; ++e)
        target.m.push_back(
            take(names_of(site.path(i, e), ".lora_magnitude_vector"), {site.sizes[i]}));
    out.push_back(std::move(target));
  }
  return out.empty() ? of_stack(site) : out;
}

void AdapterTensors::read_routers(const TransformerLM& model, int adapter) {
  for (const Parameter& p : adapter_parameters(model, adapter)) {
    if (p.role != Role::router || p.name.find(".moe_lora.") == std::string::npos) continue;
    for (const Piece& piece : p.pieces)
      if (const Tensor values = take({kPrefix + piece.name}, piece_shape(p, piece)))
        write_piece(p.var.value(), piece, values);
  }
}

void AdapterTensors::check_all_used() {
  std::vector<std::string> unexpected;
  for (const SafetensorsFolder::Item& item : files_.items())
    if (!used_.contains(item.entry->name)) unexpected.push_back(item.entry->name);
  if (!unexpected.empty()) problems_.push_back("unexpected: " + list_some(unexpected));
  MOE_CHECK(problems_.empty(), "[adapter] ", folder_,
            " does not fit this model: ", list_some(problems_), "; it was made for another one");
}

namespace {

/// A routed expert's pairs as one, for PEFT's ParamWrapper.
void add_stack(AdapterFile& file, const LoraSite& site, const LoraPart& part, bool nested) {
  const std::string name = stack_name(site), stem = site.prefix + "experts";
  const std::string where = kPrefix + stem + (nested ? ".base_layer" : "");
  const int64_t E = site.n_experts(), n = std::ssize(part.targets), width = n * part.rank;
  const Tensor a = Tensor::empty({E * width, site.weight.shape()[-1]}, site.weight.dtype());
  const Tensor b = Tensor::zeros({site.weight.shape()[-2], width * E}, site.weight.dtype());
  for (int64_t e = 0; e < E; ++e) {
    const int64_t pair = part.shared ? 0 : e;
    write_rows(a, 0, e * width, read_rows(part.a.value(), pair, 0, width));
    const Tensor all = Tensor::zeros({b.size(0), width}, b.dtype());
    for (int64_t i = 0; i < n; ++i) {
      const size_t target = part.targets[size_t(i)];
      const int64_t row = target == 0 ? 0 : site.sizes[0], rows = site.sizes[target];
      const Tensor values = read_rows(part.b[size_t(i)].value(), pair, 0, rows);
      with_elements(all, [&](auto to) {
        using Number = std::remove_reference_t<decltype(to[0])>;
        for (int64_t r = 0; r < rows; ++r)
          std::copy_n(values.data<Number>().begin() + r * part.rank, part.rank,
                      to.begin() + (row + r) * width + i * part.rank);
      });
    }
    put_expert(b, e, E, all);
  }
  file.tensors.push_back(tensor_source(where + ".lora_A.weight", a));
  file.tensors.push_back(tensor_source(where + ".lora_B.weight", b));
  file.target_parameters.push_back(stem + "." + name);
  if (n == 2) {
    file.doubled.push_back(stem + "." + name);
    file.metadata[kHalves] = "true";
  }
  if (part.shared) file.metadata[kShared] = "true";
}

/// Names that PEFT takes for parts of the routed experts wherever they stand in a model with
/// experts (transformers 4 called them so): written as parameters, they are what they are.
bool is_misread(const std::string& leaf) {
  static const std::set<std::string> kNames = {"gate", "gate_proj", "up_proj", "down_proj"};
  return kNames.contains(leaf);
}

}  // namespace

AdapterFile adapter_file(const TransformerLM& model, int adapter, const LoraConfig& config) {
  const Family& family = family_for(model.config());
  const bool as_parameters =
      model.config().has_moe && is_of_transformers(family) && !config.use_dora;
  AdapterFile out{.tensors = {},
                  .metadata = {{"format", "pt"}},
                  .target_modules = {},
                  .target_parameters = {},
                  .doubled = {}};
  std::set<std::string> stacked;  // sites, whose parameters are written apart
  const std::vector<LoraSite> sites = model.lora_sites();
  const auto part_of = [&](const LoraSite& site) -> const LoraPart* {
    for (const LoraPart& part : *site.parts)
      if (part.adapter == adapter && !part.mixture) return &part;
    return nullptr;
  };
  std::map<std::string, std::pair<int64_t, std::vector<std::string>>> of_leaf;  // all, adapted
  std::map<std::string, std::string> module_of;                                 // of a path
  for (size_t s = 0; s < sites.size(); ++s) {
    const LoraSite& site = sites[s];
    const LoraPart* part = part_of(site);
    const int64_t E = site.n_experts();
    if (as_parameters && !stack_name(site).empty()) {
      if (!part) continue;
      // down_proj's site follows the one of gate_up_proj.
      const bool nested = s + 1 < sites.size() && sites[s + 1].prefix == site.prefix &&
                          stack_name(sites[s + 1]) == "down_proj" && part_of(sites[s + 1]) &&
                          stack_name(site) == "gate_up_proj";
      add_stack(out, site, *part, nested);
      stacked.insert(site.prefix + "experts.");
      continue;
    }
    for (size_t i = 0; i < site.names.size(); ++i)
      for (int64_t e = 0; e < std::max<int64_t>(1, E); ++e) {
        const std::string path = site.path(i, E > 0 ? e : -1);
        const bool adapted =
            part && std::find(part->targets.begin(), part->targets.end(), i) != part->targets.end();
        if (as_parameters && is_misread(site.names[i])) {
          module_of[path] = path;
          if (adapted) out.target_parameters.push_back(path + ".weight");
          continue;
        }
        module_of[path] = module_name(model.config(), family, path);
        auto& [all, hits] = of_leaf[last_part(module_of[path])];
        ++all;
        if (adapted) hits.push_back(module_of[path]);
      }
  }
  // "q_proj" where every such matrix of the model has an adapter, else whole paths.
  for (const auto& [leaf, entry] : of_leaf) {
    const auto& [all, hits] = entry;
    if (all == std::ssize(hits))
      out.target_modules.push_back(leaf);
    else
      out.target_modules.insert(out.target_modules.end(), hits.begin(), hits.end());
  }
  for (const Parameter& p : adapter_parameters(model, adapter))
    for (const Piece& piece : p.pieces) {
      const size_t at = std::min(piece.name.find(".lora_"), piece.name.rfind(".weight"));
      const std::string path = piece.name.substr(0, at);
      const size_t experts = path.find(".experts.");
      if (experts != std::string::npos && stacked.contains(path.substr(0, experts + 9))) continue;
      const Tensor values = read_piece(p.var.value(), piece);
      const auto module = module_of.find(path);
      out.tensors.push_back(tensor_source(
          kPrefix + (module == module_of.end() ? path : module->second) + piece.name.substr(at),
          ends_with(piece.name, ".lora_embedding_A") ? transposed(values) : values));
    }
  return out;
}

}  // namespace moe
