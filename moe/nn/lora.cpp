// SPDX-License-Identifier: MIT
#include "moe/nn/lora.h"

#include <algorithm>
#include <cmath>
#include <fnmatch.h>
#include <numeric>

#include "moe/base/rng.h"
#include "moe/nn/dora.h"
#include "moe/nn/moe/moe_lora.h"
#include "moe/nn/transformer_lm.h"
#include "moe/ops/dropout.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/embedding.h"
#include "moe/ops/linear.h"
#include "moe/ops/rows.h"

namespace moe {
namespace {

int64_t row_of(const std::vector<int64_t>& sizes, size_t name) {
  return std::accumulate(sizes.begin(), sizes.begin() + std::ptrdiff_t(name), int64_t{0});
}

/// Row-major [rows, cols]: to[r, begin + c] = factor * from[r, c].
void copy_columns(const Tensor& to, int64_t begin, const Tensor& from, double factor) {
  const int64_t rows = from.size(0), cols = from.size(1), width = to.size(1);
  with_elements(to, [&](auto out) {
    using Number = std::remove_reference_t<decltype(out[0])>;
    const auto in = from.data<Number>();
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c)
        out[size_t(r * width + begin + c)] = Number(factor) * in[size_t(r * cols + c)];
  });
}

/// factor * columns [begin, begin + n) of row-major values.
Tensor some_columns(const Tensor& from, int64_t begin, int64_t n, double factor) {
  const Tensor out = Tensor::empty({from.size(0), n}, from.dtype());
  const int64_t width = from.size(1);
  with_elements(out, [&](auto values) {
    using Number = std::remove_reference_t<decltype(values[0])>;
    const auto in = from.data<Number>();
    for (int64_t r = 0; r < from.size(0); ++r)
      for (int64_t c = 0; c < n; ++c)
        values[size_t(r * n + c)] = Number(factor) * in[size_t(r * width + begin + c)];
  });
  return out;
}

/// The place of row r's draws: its token, and its expert where tokens have rows of several.
Tensor draw_places(const Tensor& offsets_E1, const Tensor& token_R, int64_t n_rows,
                   const ForwardContext& ctx) {
  if (!offsets_E1) return ctx.token_index_T;
  const Tensor out = Tensor::empty({n_rows}, DType::i64);
  const std::span<int64_t> places = out.data<int64_t>();
  const auto offsets = offsets_E1.data<int32_t>();
  const int64_t E = std::ssize(offsets) - 1;
  for (int64_t e = 0; e < E; ++e)
    for (int32_t r = offsets[size_t(e)]; r < offsets[size_t(e) + 1]; ++r) {
      const int64_t token = token_R ? token_R.data<int32_t>()[size_t(r)] : r;
      places[size_t(r)] = ctx.token_index_T.data<int64_t>()[size_t(token)] * E + e;
    }
  return out;
}

/// x with the part's dropout.
Var dropped(const LoraPart& part, const Var& x_RI, const Tensor& offsets_E1, const Tensor& token_R,
            const std::string& name, const ForwardContext& ctx) {
  if (!ctx.training || part.dropout == 0) return x_RI;
  return ops::dropout(x_RI, part.dropout, ctx.rng.stream("dropout.lora." + name, ctx.layer),
                      draw_places(offsets_E1, token_R, x_RI.size(0), ctx));
}

enum class Group { attention, ffn, experts, shared, router, embedding, head };

Group group_of(const LoraSite& site) {
  if (site.embedding) return Group::embedding;
  if (site.role == Role::head) return Group::head;
  if (site.role == Role::router) return Group::router;
  if (site.n_experts() > 0) return Group::experts;
  if (site.prefix.find(".self_attn.") != std::string::npos) return Group::attention;
  return site.prefix.find(".shared_expert.") != std::string::npos ||
                 site.names[0] == "shared_expert_gate"
             ? Group::shared
             : Group::ffn;
}

const std::vector<std::pair<std::string, Group>>& group_names() {
  static const std::vector<std::pair<std::string, Group>> kNames = {{"attention", Group::attention},
                                                                    {"ffn", Group::ffn},
                                                                    {"experts", Group::experts},
                                                                    {"shared", Group::shared},
                                                                    {"router", Group::router},
                                                                    {"embedding", Group::embedding},
                                                                    {"head", Group::head}};
  return kNames;
}

bool answers(const LoraSite& site, size_t name, const std::string& target) {
  const Group group = group_of(site);
  if (target == "all-linear")
    return group != Group::router && group != Group::embedding && group != Group::head;
  for (const auto& [word, its_group] : group_names())
    if (word == target) return group == its_group;
  if (site.names[name] == target) return true;
  const int64_t n = std::max<int64_t>(1, site.n_experts());
  int64_t hits = 0;
  for (int64_t e = 0; e < n; ++e)
    hits += fnmatch(target.c_str(), site.path(name, site.n_experts() > 0 ? e : -1).c_str(), 0) == 0;
  if (hits != 0 && hits != n)
    throw Error(str("[config] lora.targets: '", printable(target, 60), "' names ", hits, " of the ",
                    n, " experts of ", site.prefix, "; an adapter is on all of a layer's experts"),
                ExitCode::usage);
  return hits == n;
}

void fill(const Tensor& panels,
          const std::function<double(int64_t m, int64_t r, int64_t c)>& draw) {
  const int64_t rows = panels.shape()[-2], cols = panels.shape()[-1];
  for (int64_t m = 0; m < panels.n_matrices(); ++m) {
    const Tensor values = Tensor::empty({rows, cols}, panels.dtype());
    with_elements(values, [&](auto v) {
      using Number = std::remove_reference_t<decltype(v[0])>;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < cols; ++c) v[size_t(r * cols + c)] = Number(float(draw(m, r, c)));
    });
    write_rows(panels, m, 0, values);
  }
}

Var zeros(int64_t experts, int64_t rows, int64_t cols, DType dtype) {
  const Shape shape = experts > 0 ? Shape{experts, rows, cols} : Shape{rows, cols};
  return Var(Tensor::zeros(shape, dtype, Layout::panel16), true);
}

LoraPart new_part(const LoraSite& site, std::vector<size_t> targets, const LoraConfig& config,
                  int adapter, uint64_t seed, bool mixture) {
  const DType dtype = site.weight.dtype();
  const int64_t in = site.weight.shape()[-1], r = config.rank;
  LoraPart part{.adapter = adapter,
                .rank = r,
                .scale = lora_scale(config),
                .dropout = site.embedding ? 0 : config.dropout,
                .shared = config.share_experts && site.n_experts() > 0,
                .embedding = site.embedding,
                .mixture = mixture,
                .targets = std::move(targets),
                .a = {},
                .b = {}};
  const int64_t experts = mixture ? config.moe_lora.n_experts : part.shared ? 0 : site.n_experts();
  const Rng rng{.seed = seed, .step = 0};
  if (site.embedding) {
    part.a = zeros(0, site.sizes[0], r, dtype);
    part.b.push_back(zeros(0, in, r, dtype));
    const RngStream draws = rng.stream("lora:" + site.path(0, -1));
    fill(part.b[0].value(), [&](int64_t, int64_t row, int64_t c) { return draws.normal(row, c); });
    if (config.use_dora) add_magnitudes(part, site.weight, site.sizes);
    return part;
  }
  part.a = zeros(experts, r * std::ssize(part.targets), in, dtype);
  const double bound = 1 / std::sqrt(double(in));
  fill(part.a.value(), [&](int64_t e, int64_t row, int64_t c) {
    const size_t name = part.targets[size_t(row / r)];
    const RngStream draws = rng.stream(
        "lora:" + (mixture ? mixture_path(site, name, e) : site.path(name, experts > 0 ? e : -1)));
    return bound * (2 * draws.uniform(row % r, c) - 1);
  });
  for (const size_t t : part.targets) part.b.push_back(zeros(experts, site.sizes[t], r, dtype));
  if (config.use_dora) add_magnitudes(part, site.weight, site.sizes);
  return part;
}

}  // namespace

double lora_scale(const LoraConfig& c) {
  if (c.scaling == "alpha") return c.alpha;
  return c.scaling == "rslora" ? c.alpha / std::sqrt(double(c.rank)) : c.alpha / double(c.rank);
}

void add_lora_keys(ConfigTable& t, LoraConfig& c) {
  t.string(
      "lora.targets", c.targets,
      "low-rank adapters instead of training the weights; on: attention, ffn, experts, shared, "
      "router, embedding, head, all-linear, names such as q_proj, patterns of whole names, by "
      "commas; empty: none");
  t.integer("lora.rank", c.rank, 1, 4096, "rank of the adapters");
  t.number("lora.alpha", c.alpha, 0, 1e6, "their weight, see lora.scaling");
  t.choice("lora.scaling", c.scaling, {"alpha_over_r", "alpha", "rslora"},
           "what multiplies B A: alpha / rank, alpha, or alpha / sqrt(rank)");
  t.number("lora.dropout", c.dropout, 0, 0.999, "dropout rate on their input");
  t.boolean("lora.share_experts", c.share_experts,
            "one pair of matrices for all routed experts of a layer, not one each");
  t.boolean("lora.use_dora", c.use_dora,
            "DoRA: rows of W + s B A have a learned length of their own");
  t.integer("lora.moe_lora.n_experts", c.moe_lora.n_experts, 0, 1024,
            "mixture of LoRA experts: experts on each network of a dense model; 0: none");
  t.integer("lora.moe_lora.top_k", c.moe_lora.top_k, 1, 1024, "LoRA experts that a token takes");
  t.number("lora.moe_lora.aux_loss_weight", c.moe_lora.aux_loss_weight, 0, 1e6,
           "weight of the balance loss of their router");
}

std::string LoraSite::path(size_t name, int64_t expert) const {
  if (n_experts() == 0) return prefix + names[name];
  return prefix + (expert < 0 ? std::string("experts.") : str("experts.", expert, ".")) +
         names[name];
}

std::string mixture_path(const LoraSite& site, size_t name, int64_t expert) {
  return str(site.prefix, "moe_lora.experts.", expert, ".", site.names[name]);
}

const LoraPart* active_part(const std::shared_ptr<LoraParts>& parts, const ForwardContext& ctx) {
  if (!parts || ctx.adapter < 0) return nullptr;
  for (const LoraPart& part : *parts)
    if (part.adapter == ctx.adapter && !part.mixture) return &part;
  return nullptr;
}

namespace {

/// [O, targets * rank] (or one per expert) in the weight's layout: s times each target's B in its
/// own rows and columns, zeros elsewhere.
Var spread_b(const LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes) {
  const Tensor& w = weight.value();
  const int64_t width = part.rank * std::ssize(part.targets), out = w.shape()[-2];
  const bool stacked = part.a.shape().rank() == 3;
  const int64_t n = part.a.value().n_matrices();
  const Tensor full =
      Tensor::zeros(stacked ? Shape{n, out, width} : Shape{out, width}, w.dtype(), w.layout());
  struct Block {
    int64_t row, rows, column;
  };
  std::vector<Block> blocks;
  for (size_t i = 0; i < part.targets.size(); ++i)
    blocks.push_back(
        {row_of(sizes, part.targets[i]), sizes[part.targets[i]], int64_t(i) * part.rank});
  for (size_t i = 0; i < blocks.size(); ++i)
    for (int64_t e = 0; e < n; ++e) {
      const Tensor rows = Tensor::zeros({blocks[i].rows, width}, w.dtype());
      copy_columns(rows, blocks[i].column, read_rows(part.b[i].value(), e, 0, blocks[i].rows),
                   part.scale);
      write_rows(full, e, blocks[i].row, rows);
    }
  return record("lora_spread_b", full, part.b,
                [blocks, n, b = part.b, rank = part.rank, scale = part.scale](const Tensor& d) {
                  for (size_t i = 0; i < blocks.size(); ++i) {
                    const Tensor& value = b[i].value();
                    const Tensor db = Tensor::zeros(value.shape(), value.dtype(), value.layout());
                    for (int64_t e = 0; e < n; ++e)
                      write_rows(db, e, 0,
                                 some_columns(read_rows(d, e, blocks[i].row, blocks[i].rows),
                                              blocks[i].column, rank, scale));
                    accumulate(b[i].grad(), db);
                  }
                });
}

Var product(const Var& x_RI, const Var& weight, const Var& bias, const Tensor& offsets_E1,
            const ForwardContext& ctx) {
  const ops::Precision precision = {.type = ctx.compute_dtype};
  return offsets_E1 ? ops::grouped_linear(x_RI, weight, offsets_E1, bias, precision)
                    : ops::linear(x_RI, weight, bias, precision);
}

/// The expert of each row.
Tensor experts_of_rows(const Tensor& offsets_E1, int64_t n_rows) {
  const Tensor out = Tensor::empty({n_rows}, DType::i32);
  const auto offsets = offsets_E1.data<int32_t>();
  for (size_t e = 0; e + 1 < offsets.size(); ++e)
    std::fill(out.data<int32_t>().begin() + offsets[e],
              out.data<int32_t>().begin() + offsets[e + 1], int32_t(e));
  return out;
}

/// Rows of W x + s B A x, each column times m / norm.
Var with_gain(const LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes,
              const Var& adapted, const Tensor& offsets_E1) {
  const Var gain = dora_gain(part, weight, sizes);
  if (!offsets_E1) return ops::scale_columns(adapted, gain);
  return ops::multiply(adapted,
                       ops::gather_rows(gain, experts_of_rows(offsets_E1, adapted.size(0))));
}

}  // namespace

Var lora_delta(const LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes,
               const Var& x_RI, const Tensor& offsets_E1, const Tensor& token_R,
               const std::string& name, const ForwardContext& ctx) {
  const Tensor pairs_E1 = part.shared ? Tensor() : offsets_E1;
  const Var x = dropped(part, x_RI, offsets_E1, token_R, name, ctx);
  return product(product(x, part.a, {}, pairs_E1, ctx), spread_b(part, weight, sizes), {}, pairs_E1,
                 ctx);
}

Var adapted_linear(const LoraPart& part, const Var& weight, const Var& bias,
                   const std::vector<int64_t>& sizes, const Var& x_RI, const Tensor& offsets_E1,
                   const Tensor& token_R, const std::string& name, const ForwardContext& ctx) {
  const Var delta = lora_delta(part, weight, sizes, x_RI, offsets_E1, token_R, name, ctx);
  if (part.m.empty()) return ops::add(product(x_RI, weight, bias, offsets_E1, ctx), delta);
  const Var x = dropped(part, x_RI, offsets_E1, token_R, name, ctx);
  const Var plain = product(x, weight, {}, offsets_E1, ctx);
  Var y = with_gain(part, weight, sizes, ops::add(plain, delta), offsets_E1);
  if (!x.same_as(x_RI))
    y = ops::add(product(x_RI, weight, {}, offsets_E1, ctx), ops::add(y, ops::scale(plain, -1)));
  if (!bias) return y;
  const Tensor ones = Tensor::empty({x_RI.size(0), 1}, x_RI.dtype());
  with_elements(ones, [](auto values) { std::fill(values.begin(), values.end(), 1); });
  return ops::add(y, product(Var(ones), bias, {}, offsets_E1, ctx));
}

Var adapted_embedding(const LoraPart& part, const Var& table_VD, const Tensor& ids_T) {
  const Var change = ops::scale(ops::linear(ops::embedding(ids_T, part.a), part.b[0]), part.scale);
  const Var x_TD = ops::add(ops::embedding(ids_T, table_VD), change);
  return part.m.empty() ? x_TD : ops::scale_columns(x_TD, dora_gain(part, table_VD, {}));
}

namespace {

/// Whether LoRA experts can be on the model.
void check_mixture(const TransformerLM& model, const LoraConfig& config) {
  const auto check = [](bool ok, const std::string& text) {
    if (!ok) throw Error("[config] lora.moe_lora " + text, ExitCode::usage);
  };
  check(!model.config().has_moe,
        "puts LoRA experts on the networks of a dense model, and this one has routed experts; "
        "give those adapters with lora.targets=experts");
  check(!model.mixture_sites().empty(), "needs networks of two layers, and the model has none");
  check(!config.use_dora, "has no form with DoRA; set lora.use_dora=false");
}

}  // namespace

int add_adapter(TransformerLM& model, const LoraConfig& config, uint64_t seed) {
  std::vector<std::string> targets;
  for (const std::string& t : split(config.targets, ','))
    if (!trim(t).empty()) targets.push_back(trim(t));
  if (!(config.alpha > 0))
    throw Error(str("[config] lora.alpha is ", config.alpha,
                    ", so that the adapter would change nothing; give it a value above 0"),
                ExitCode::usage);
  const bool mixture = config.moe_lora.n_experts > 0;
  if (mixture) check_mixture(model, config);
  if (targets.empty() && !mixture) throw Error("[config] lora.targets is empty", ExitCode::usage);
  std::vector<bool> used(targets.size(), false);
  std::vector<std::string> words = {"all-linear"};
  for (const auto& [word, group] : group_names()) words.push_back(word);
  std::vector<LoraChoice> chosen;
  for (const LoraSite& site : model.lora_sites()) {
    for (const std::string& name : site.names) words.push_back(name);
    std::vector<size_t> hit;
    for (size_t i = 0; i < site.names.size(); ++i) {
      bool any = false;
      for (size_t t = 0; t < targets.size(); ++t) {
        if (!answers(site, i, targets[t])) continue;
        used[t] = any = true;
        if (mixture && group_of(site) == Group::ffn)
          throw Error(str("[config] lora.targets: '", printable(targets[t], 60), "' names ",
                          site.path(i, -1),
                          ", which holds the experts of lora.moe_lora already; "
                          "use attention, or a pattern without it"),
                      ExitCode::usage);
      }
      if (any) hit.push_back(i);
    }
    if (mixture && group_of(site) == Group::ffn) {
      std::vector<size_t> all(site.names.size());
      std::iota(all.begin(), all.end(), size_t{0});
      chosen.push_back({site, std::move(all), config, true});
    } else if (!hit.empty()) {
      chosen.push_back({site, std::move(hit), config});
    }
  }
  for (size_t t = 0; t < targets.size(); ++t)
    if (!used[t]) {
      const std::string near = nearest_word(targets[t], words);
      throw Error(
          str("[config] lora.targets: nothing in the model answers to '", printable(targets[t], 60),
              "'; use attention, ffn, experts, shared, router, "
              "embedding, head, all-linear, a matrix's name such as q_proj, or a pattern",
              near.empty() ? "" : ". Did you mean " + near + "?"),
          ExitCode::usage);
    }
  return put_adapter(model, chosen, seed);
}

int put_adapter(TransformerLM& model, const std::vector<LoraChoice>& chosen, uint64_t seed) {
  const int adapter = model.n_adapters();
  const auto mixed =
      std::find_if(chosen.begin(), chosen.end(), [](const LoraChoice& c) { return c.mixture; });
  std::vector<MixtureRouter> routers;
  if (mixed != chosen.end())
    for (const MixtureSite& site : model.mixture_sites()) {
      routers.push_back(
          {adapter, make_mixture_router(mixed->config.moe_lora, site.d_model, site.dtype)});
      const RngStream draws = Rng{.seed = seed, .step = 0}.stream("lora:" + site.prefix + "gate");
      Visitor v;
      v.parameter = [&](const Parameter& p) {  // as small as any weight at its beginning
        fill(p.var.value(),
             [&](int64_t, int64_t row, int64_t c) { return 0.02 * draws.normal(row, c); });
      };
      routers.back().router->visit(v);
    }
  for (const LoraChoice& c : chosen)
    c.site.parts->push_back(new_part(c.site, c.targets, c.config, adapter, seed, c.mixture));
  for (size_t i = 0; i < routers.size(); ++i)
    model.mixture_sites()[i].routers->push_back(routers[i]);
  model.set_adapters(adapter + 1);
  return adapter;
}

void drop_adapter(TransformerLM& model, int adapter) {
  for (const LoraSite& site : model.lora_sites())
    std::erase_if(*site.parts, [&](const LoraPart& part) { return part.adapter == adapter; });
  for (const MixtureSite& site : model.mixture_sites())
    std::erase_if(*site.routers, [&](const MixtureRouter& r) { return r.adapter == adapter; });
  model.set_adapters(adapter);
}

std::vector<Parameter> adapter_parameters(const TransformerLM& model, int adapter) {
  std::vector<Parameter> out;
  for (const LoraSite& site : model.lora_sites())
    for (const LoraPart& part : *site.parts) {
      if (part.adapter != adapter) continue;
      const int64_t n = part.a.value().n_matrices();
      const auto path = [&](size_t name, int64_t e) {
        return part.mixture ? mixture_path(site, name, e)
                            : site.path(name, part.a.shape().rank() == 3 ? e : -1);
      };
      const std::string a_end = site.embedding ? ".lora_embedding_A" : ".lora_A.weight",
                        b_end = site.embedding ? ".lora_embedding_B" : ".lora_B.weight";
      Parameter a{.name = site.prefix + join(site.names, "_") + a_end, .var = part.a};
      for (int64_t e = 0; e < n; ++e)
        for (size_t i = 0; i < part.targets.size(); ++i)
          a.pieces.push_back({.name = path(part.targets[i], e) + a_end,
                              .matrix = e,
                              .row = site.embedding ? 0 : int64_t(i) * part.rank,
                              .rows = site.embedding ? site.sizes[0] : part.rank});
      out.push_back(a);
      for (size_t i = 0; i < part.targets.size(); ++i) {
        Parameter b{.name = site.prefix + site.names[part.targets[i]] + b_end, .var = part.b[i]};
        for (int64_t e = 0; e < n; ++e)
          b.pieces.push_back({.name = path(part.targets[i], e) + b_end,
                              .matrix = e,
                              .rows = part.b[i].shape()[-2]});
        out.push_back(b);
      }
      for (size_t i = 0; i < part.m.size(); ++i) {
        const std::string end = ".lora_magnitude_vector";
        Parameter m{.name = site.prefix + site.names[part.targets[i]] + end,
                    .var = part.m[i],
                    .role = Role::scale};
        for (int64_t e = 0; e < part.m[i].value().n_matrices(); ++e)
          m.pieces.push_back(
              {.name = site.path(part.targets[i], site.n_experts() > 0 ? e : -1) + end,
               .matrix = e,
               .rows = part.m[i].shape()[-2],
               .is_vector = true});
        out.push_back(m);
      }
    }
  for (const MixtureSite& site : model.mixture_sites())
    for (const MixtureRouter& r : *site.routers) {
      if (r.adapter != adapter) continue;
      Visitor v;
      v.prefix = site.prefix + "moe_lora.";
      v.parameter = [&](const Parameter& p) { out.push_back(p); };
      r.router->visit(v);
    }
  return out;
}

Tensor merged_rows(const LoraSite& site, const LoraPart& part, size_t target, int64_t expert) {
  const size_t name = part.targets[target];
  const int64_t e = std::max<int64_t>(0, expert), in = site.weight.shape()[-1];
  const Tensor w = read_rows(site.weight.value(), e, row_of(site.sizes, name), site.sizes[name]);
  const LowRank change = low_rank(part, target, expert);
  Tensor m, norms;  // of rows; of an embedding, of columns
  if (!part.m.empty()) {
    norms = dora_norms(part, site.weight, site.sizes, target, expert);
    m = read_rows(part.m[target].value(), e, 0, norms.numel());
  }
  with_elements(w, [&](auto out) {
    using Number = std::remove_reference_t<decltype(out[0])>;
    std::vector<double> row(static_cast<size_t>(in));
    for (int64_t i = 0; i < w.size(0); ++i) {
      change.add_to_row(w, i, 0, in, row.data());
      for (int64_t j = 0; j < in; ++j) {
        const size_t k = size_t(part.embedding ? j : i);
        if (m && norms.data<Number>()[k] != 0)
          row[size_t(j)] *= double(m.data<Number>()[k] / norms.data<Number>()[k]);
        out[size_t(i * in + j)] = Number(row[size_t(j)]);
      }
    }
  });
  return w;
}

void merge_adapter(TransformerLM& model, int adapter) {
  const std::vector<LoraSite> sites = model.lora_sites();
  for (const LoraSite& site : sites)
    for (const LoraPart& part : *site.parts)
      MOE_CHECK(
          part.adapter != adapter || !part.mixture,
          "[lora] the adapter mixes LoRA experts, other ones for each token: that is no single "
          "matrix and cannot be merged; keep it as an adapter");
  for (const LoraSite& site : sites)
    for (const LoraPart& part : *site.parts)
      MOE_CHECK(part.adapter != adapter || !model.config().tie_embeddings ||
                    (!site.embedding && site.role != Role::head),
                "[lora] the model's embedding and head are one table, and the adapter changes one "
                "of the two alone: it cannot be merged; keep it as an adapter");
  for (const LoraSite& site : sites)
    for (const LoraPart& part : *site.parts) {
      if (part.adapter != adapter) continue;
      for (size_t i = 0; i < part.targets.size(); ++i)
        for (int64_t e = 0; e < std::max<int64_t>(1, site.n_experts()); ++e)
          write_rows(site.weight.value(), e, row_of(site.sizes, part.targets[i]),
                     merged_rows(site, part, i, site.n_experts() > 0 ? e : -1));
    }
  for (const LoraSite& site : sites) site.parts->clear();
  for (const MixtureSite& site : model.mixture_sites()) site.routers->clear();
  model.set_adapters(0);
}

void freeze(const TransformerLM& model) {
  for (const Parameter& p : model.parameters()) {
    p.var.freeze();
    for (const Var& use : p.other_uses) use.freeze();
  }
}

}  // namespace moe
