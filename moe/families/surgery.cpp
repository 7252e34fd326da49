// SPDX-License-Identifier: MIT
#include "moe/families/surgery.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "moe/base/error.h"
#include "moe/base/str.h"
#include "moe/nn/init.h"

namespace moe {
namespace {

// Every named matrix and buffer of a model, as copies.
using Tensors = std::map<std::string, Tensor>;

Tensors read_all(const TransformerLM& model) {
  Tensors out;
  for (const Parameter& p : model.parameters())
    for (const Piece& piece : p.pieces) out[piece.name] = read_piece(p.var.value(), piece);
  for (const Buffer& b : model.buffers()) out[b.name] = b.value.clone();
  return out;
}

// Fills a new model: make(name, what is there now) gives each matrix.
template <class F>
void fill(const TransformerLM& model, F make) {
  for (const Parameter& p : model.parameters())
    for (const Piece& piece : p.pieces)
      write_piece(p.var.value(), piece, make(piece.name, read_piece(p.var.value(), piece)));
}

const Tensor& at(const Tensors& tensors, const std::string& name) {
  const auto it = tensors.find(name);
  MOE_CHECK(it != tensors.end(), "[surgery] the model has no '", name, "'");
  return it->second;
}

// "model.layers.3.mlp.experts.5.up_proj.weight" in parts; expert -1 where there is none.
struct Name {
  int64_t layer = -1, expert = -1;
  std::string stem, rest;  // "model.layers.3.mlp.", "up_proj.weight"
};
Name parse(const std::string& name) {
  Name out;
  const std::string layers = "model.layers.", experts = ".experts.";
  if (!starts_with(name, layers)) return out;
  out.layer = std::stoll(name.substr(layers.size()));
  const size_t found = name.find(experts);
  if (found == std::string::npos) return out;
  const size_t number = found + experts.size(), dot = name.find('.', number);
  out.expert = std::stoll(name.substr(number, dot - number));
  out.stem = name.substr(0, found + 1);
  out.rest = name.substr(dot + 1);
  return out;
}

bool is_router(const std::string& name) { return ends_with(name, ".gate.weight"); }

// Rows [begin, begin + n) of a matrix; columns likewise.
Tensor rows_of(const Tensor& t, int64_t begin, int64_t n) {
  return t.rows(begin, begin + n).clone();
}
Tensor columns_of(const Tensor& t, int64_t begin, int64_t n, float factor) {
  const Tensor out = Tensor::empty({t.size(0), n}, DType::f32);
  for (int64_t r = 0; r < t.size(0); ++r)
    for (int64_t c = 0; c < n; ++c)
      out.view().at<float>(r, c) = factor * t.view().at<float>(r, begin + c);
  return out;
}

// MoE layers of a model in order: layer number to place.
std::map<int64_t, size_t> moe_places(const ModelConfig& c) {
  std::map<int64_t, size_t> out;
  for (const LayerConfig& layer : resolve_layers(c))
    if (layer.moe) out.emplace(layer.index, out.size());
  return out;
}

void check_experts(const TransformerLM& model, int64_t n,
                   const std::vector<std::vector<double>>& usage) {
  const ModelConfig& c = model.config();
  MOE_CHECK(c.has_moe, "[surgery] the model is dense; it has no experts");
  MOE_CHECK(c.moe.router == "top_k" || c.moe.router == "switch" || c.moe.router == "sigmoid_bias",
            "[surgery] only routers top_k, switch and sigmoid_bias keep their meaning with other "
            "experts, not ",
            c.moe.router);
  MOE_CHECK(c.moe.n_group == 1, "[surgery] groups of experts cannot be cut; this model has ",
            c.moe.n_group);
  MOE_CHECK(n >= 1 && n <= c.moe.n_experts, "[surgery] ", n, " of ", c.moe.n_experts, " experts");
  MOE_CHECK(usage.size() == moe_places(c).size(), "[surgery] usage of ", usage.size(),
            " layers is known, of ", moe_places(c).size());
}

// A copy of a configuration with another number of experts.
ModelConfig with_experts(ModelConfig c, int64_t n) {
  c.moe.n_experts = n;
  c.moe.top_k = std::min(c.moe.top_k, n);
  c.init_from.clear();
  return c;
}

// parts_of[l][e]: the old experts, with weights, that make the new expert e of MoE layer l.
using Parts = std::vector<std::vector<std::vector<std::pair<int64_t, double>>>>;

Tensor weighted_sum(const std::vector<std::pair<Tensor, double>>& terms) {
  Tensor out = Tensor::zeros(terms[0].first.shape(), DType::f32);
  for (const auto& [t, w] : terms)
    for (size_t i = 0; i < size_t(out.numel()); ++i)
      out.data<float>()[i] += float(w) * t.data<float>()[i];
  return out;
}

std::unique_ptr<TransformerLM> from_parts(const TransformerLM& model, int64_t n,
                                          const Parts& parts) {
  const Tensors old = read_all(model);
  const std::map<int64_t, size_t> places = moe_places(model.config());
  auto out = std::make_unique<TransformerLM>(with_experts(model.config(), n));
  fill(*out, [&](const std::string& name, const Tensor&) -> Tensor {
    const Name parsed = parse(name);
    if (parsed.expert >= 0) {
      std::vector<std::pair<Tensor, double>> terms;
      for (const auto& [e, w] : parts[places.at(parsed.layer)][size_t(parsed.expert)])
        terms.emplace_back(at(old, str(parsed.stem, "experts.", e, ".", parsed.rest)), w);
      return weighted_sum(terms);
    }
    const Tensor& was = at(old, name);
    if (!is_router(name) || parsed.layer < 0) return was;
    const Tensor rows = Tensor::zeros({n, was.size(1)}, DType::f32);
    for (int64_t e = 0; e < n; ++e)
      for (const auto& [from, w] : parts[places.at(parsed.layer)][size_t(e)])
        for (int64_t d = 0; d < was.size(1); ++d)
          rows.view().at<float>(e, d) += float(w) * was.view().at<float>(from, d);
    return rows;
  });
  // Selection biases follow their experts.
  for (const Buffer& b : out->buffers()) {
    const Tensor& was = at(old, b.name);
    if (b.value.numel() != n) continue;
    const int64_t layer = parse(b.name).layer;
    for (int64_t e = 0; e < n; ++e) {
      float sum = 0;
      for (const auto& [from, w] : parts[places.at(layer)][size_t(e)])
        sum += float(w) * was.data<float>()[size_t(from)];
      b.value.data<float>()[size_t(e)] = sum;
    }
  }
  return out;
}

// Experts by falling use; ties: lower index.
std::vector<int64_t> by_usage(const std::vector<double>& usage_E) {
  std::vector<int64_t> order(usage_E.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return usage_E[size_t(a)] > usage_E[size_t(b)]; });
  return order;
}

}  // namespace

std::unique_ptr<TransformerLM> upcycle(const TransformerLM& dense, const UpcycleOptions& o) {
  const ModelConfig& from = dense.config();
  MOE_CHECK(!from.has_moe, "[upcycle] the model has experts already");
  MOE_CHECK(o.copies >= 1 && o.top_k >= 1 && o.top_k <= o.copies, "[upcycle] top ", o.top_k, " of ",
            o.copies, " experts");
  MOE_CHECK(o.split >= 1 && from.d_ff % o.split == 0, "[upcycle] the feed-forward width ",
            from.d_ff, " is no multiple of the split ", o.split);
  ModelConfig c = from;
  c.init_from.clear();
  c.has_moe = true;
  c.moe = MoeConfig();
  c.moe.layers = o.layers;
  c.moe.n_experts = o.copies * o.split;
  c.moe.top_k = o.top_k * o.split;
  c.moe.d_ff = from.d_ff / o.split;
  const Tensors old = read_all(dense);
  auto out = std::make_unique<TransformerLM>(c);
  initialize(*out, o.seed);
  const int64_t width = c.moe.d_ff;
  fill(*out, [&](const std::string& name, const Tensor& now) -> Tensor {
    const Name parsed = parse(name);
    if (parsed.expert >= 0) {
      const Tensor& whole = at(old, parsed.stem + parsed.rest);
      const int64_t part = parsed.expert % o.split * width;
      if (o.split == 1) return whole;
      if (ends_with(parsed.rest, "down_proj.weight"))
        return columns_of(whole, part, width, float(o.split));
      // Each part of a copy adds its share of the bias.
      if (ends_with(parsed.rest, "down_proj.bias")) return whole;
      return rows_of(whole, part, width);
    }
    if (!is_router(name) || old.contains(name)) return at(old, name);
    Tensor rows = now.clone();
    for (int64_t e = 0; e < c.moe.n_experts; ++e)  // parts of one copy are chosen together
      for (int64_t d = 0; d < rows.size(1); ++d)
        rows.view().at<float>(e, d) = now.view().at<float>(e / o.split * o.split, d);
    return rows;
  });
  return out;
}

std::unique_ptr<TransformerLM> prune_experts(const TransformerLM& model, int64_t n,
                                             const std::vector<std::vector<double>>& usage) {
  check_experts(model, n, usage);
  Parts parts;
  for (const std::vector<double>& usage_E : usage) {
    std::vector<int64_t> kept = by_usage(usage_E);
    kept.resize(size_t(n));
    std::sort(kept.begin(), kept.end());
    parts.emplace_back();
    for (const int64_t e : kept) parts.back().push_back({{e, 1.0}});
  }
  return from_parts(model, n, parts);
}

std::unique_ptr<TransformerLM> merge_experts(const TransformerLM& model, int64_t n,
                                             const std::vector<std::vector<double>>& usage) {
  check_experts(model, n, usage);
  const Tensors old = read_all(model);
  Parts parts;
  for (const auto& [layer, place] : moe_places(model.config())) {
    Tensor gate;
    for (const auto& [name, tensor] : old)
      if (is_router(name) && parse(name).layer == layer) gate = tensor;
    MOE_CHECK(gate, "[merge] layer ", layer, " has no router matrix");
    // Groups of old experts, each with the sum of its router rows weighted by use.
    std::vector<std::vector<int64_t>> groups;
    for (int64_t e = 0; e < gate.size(0); ++e) groups.push_back({e});
    const auto weight = [&, at = place](int64_t e) { return usage[at][size_t(e)] + 1e-6; };
    const auto row = [&](const std::vector<int64_t>& group, int64_t d) {
      double sum = 0, total = 0;
      for (const int64_t e : group)
        sum += weight(e) * double(gate.view().at<float>(e, d)), total += weight(e);
      return sum / total;
    };
    while (int64_t(groups.size()) > n) {
      size_t first = 0, second = 1;
      double best = -2;
      for (size_t i = 0; i < groups.size(); ++i)
        for (size_t j = i + 1; j < groups.size(); ++j) {
          double dot = 0, a = 1e-30, b = 1e-30;
          for (int64_t d = 0; d < gate.size(1); ++d) {
            const double x = row(groups[i], d), y = row(groups[j], d);
            dot += x * y, a += x * x, b += y * y;
          }
          if (const double cosine = dot / std::sqrt(a * b); cosine > best)
            best = cosine, first = i, second = j;
        }
      groups[first].insert(groups[first].end(), groups[second].begin(), groups[second].end());
      groups.erase(groups.begin() + int64_t(second));
    }
    parts.emplace_back();
    for (const std::vector<int64_t>& group : groups) {
      double total = 0;
      for (const int64_t e : group) total += weight(e);
      parts.back().emplace_back();
      for (const int64_t e : group) parts.back().back().emplace_back(e, weight(e) / total);
    }
  }
  return from_parts(model, n, parts);
}

std::unique_ptr<TransformerLM> densify(const TransformerLM& model,
                                       const std::vector<std::vector<double>>& usage) {
  const ModelConfig& from = model.config();
  check_experts(model, from.moe.n_experts, usage);
  MOE_CHECK(!from.moe.shared_gate,
            "[densify] the shared experts have a gate, which a dense network has not");
  const int64_t k = std::min(experts_per_token(from.moe), from.moe.n_experts),
                shared = from.moe.n_shared_experts == 0 ? 0
                         : from.moe.shared_d_ff > 0     ? from.moe.shared_d_ff
                                                        : from.moe.n_shared_experts * from.moe.d_ff,
                width = k * from.moe.d_ff + shared;
  const std::map<int64_t, size_t> places = moe_places(from);
  MOE_CHECK(int64_t(places.size()) == from.n_layers || from.d_ff == width,
            "[densify] dense blocks are ", from.d_ff, " wide and the others would be ", width,
            "; one model has one width");
  ModelConfig c = from;
  c.init_from.clear();
  c.has_moe = false;
  c.moe = MoeConfig();
  c.d_ff = width;
  const Tensors old = read_all(model);
  auto out = std::make_unique<TransformerLM>(c);
  fill(*out, [&](const std::string& name, const Tensor& now) -> Tensor {
    if (old.contains(name)) return at(old, name);
    // "model.layers.3.mlp.up_proj.weight" from experts and shared experts, side by side.
    const int64_t layer = parse(name).layer;
    const size_t dot = name.find(".mlp.");
    MOE_CHECK(layer >= 0 && dot != std::string::npos, "[densify] no source for '", name, "'");
    const std::string stem = name.substr(0, dot + 5), rest = name.substr(dot + 5);
    const std::vector<double>& usage_E = usage[places.at(layer)];
    std::vector<int64_t> kept = by_usage(usage_E);
    kept.resize(size_t(k));
    double total = 0;
    for (const int64_t e : kept) total += usage_E[size_t(e)];
    const bool is_down = starts_with(rest, "down_proj"), is_bias = ends_with(rest, ".bias");
    Tensor all = Tensor::zeros(now.shape(), DType::f32);
    int64_t column = 0;
    const auto put = [&](const Tensor& part, double weight) {
      for (int64_t r = 0; r < part.shape()[0]; ++r) {
        if (is_bias && is_down) {
          all.data<float>()[size_t(r)] += float(weight) * part.data<float>()[size_t(r)];
        } else if (is_bias) {
          all.data<float>()[size_t(column + r)] = part.data<float>()[size_t(r)];
        } else if (is_down) {
          for (int64_t i = 0; i < part.size(1); ++i)
            all.view().at<float>(r, column + i) = float(weight) * part.view().at<float>(r, i);
        } else {
          for (int64_t d = 0; d < part.size(1); ++d)
            all.view().at<float>(column + r, d) = part.view().at<float>(r, d);
        }
      }
      column += is_down && !is_bias ? part.size(1) : part.shape()[0];
    };
    for (const int64_t e : kept)
      put(at(old, str(stem, "experts.", e, ".", rest)),
          total > 0 ? usage_E[size_t(e)] / total : 1.0 / double(k));
    if (shared > 0) put(at(old, stem + "shared_expert." + rest), 1);
    return all;
  });
  return out;
}

}  // namespace moe
