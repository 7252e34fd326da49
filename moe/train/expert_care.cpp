// SPDX-License-Identifier: MIT
#include "moe/train/expert_care.h"

#include <algorithm>
#include <charconv>
#include <fnmatch.h>

#include "moe/base/error.h"
#include "moe/base/rng.h"
#include "moe/base/str.h"
#include "moe/nn/moe/score_ops.h"
#include "moe/optim/grad_norm.h"

namespace moe {
namespace {

constexpr double kDeadShare = 0.01;  // of the even share
constexpr double kSpread = 0.02, kGateSpread = 0.1;

// The number behind `word` and a dot in a tensor's name, -1 when there is none.
int64_t number_after(const std::string& name, const std::string& word) {
  const size_t at = ("." + name).find("." + word + ".");
  if (at == std::string::npos) return -1;
  const char* first = name.data() + at + word.size() + 1;
  int64_t n = -1;
  const auto [end, error] = std::from_chars(first, name.data() + name.size(), n);
  return error == std::errc() && end != first ? n : -1;
}

void scale_values(const Tensor& t, const std::function<double(int64_t i)>& factor) {
  with_elements(t, [&](auto values) {
    using Number = std::remove_reference_t<decltype(values[0])>;
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = Number(double(values[i]) * factor(int64_t(i)));
  });
}

}  // namespace

ExpertCare::ExpertCare(const ExpertCareConfig& config, std::vector<Parameter> parameters,
                       std::vector<Buffer> buffers)
    : config_(config), parameters_(std::move(parameters)), buffers_(std::move(buffers)) {
  std::vector<std::string> patterns;
  for (const std::string& part : split(config.freeze, ','))
    if (!trim(part).empty()) patterns.push_back(trim(part));
  std::vector<bool> used(patterns.size(), false);
  for (size_t p = 0; p < parameters_.size(); ++p) {
    const Parameter& parameter = parameters_[p];
    for (size_t i = 0; i < parameter.pieces.size(); ++i) {
      const std::string& name = parameter.pieces[i].name;
      const int64_t layer = number_after(name, "layers"), expert = number_after(name, "experts");
      const bool is_router = parameter.role == Role::router;
      if (layer >= 0 && expert >= 0) {
        auto& of_layer = experts_[int(layer)];
        of_layer.resize(std::max(of_layer.size(), size_t(expert) + 1));
        of_layer[size_t(expert)].push_back({p, i});
      }
      if (layer >= 0 && is_router) gates_[int(layer)].push_back({p, i});
      bool frozen = false;
      for (size_t k = 0; k < patterns.size(); ++k) {
        const bool hit = patterns[k] == "router" ? is_router
                         : patterns[k] == "experts"
                             ? expert >= 0
                             : fnmatch(patterns[k].c_str(), name.c_str(), 0) == 0;
        used[k] = used[k] || hit;
        frozen = frozen || hit;
      }
      if (frozen) frozen_.push_back({p, i});
    }
  }
  for (size_t k = 0; k < patterns.size(); ++k) {
    freezes_router_ = freezes_router_ || patterns[k] == "router";
    if (!used[k] && (patterns[k] != "router" || experts_.empty()))  // hash routers have none
      throw Error(str("[config] train.freeze: no tensor is called '", printable(patterns[k], 60),
                      "'; use router, experts, or a pattern such as *.experts.3.*"),
                  ExitCode::usage);
  }
}

std::vector<std::vector<double>> ExpertCare::prepare_gradients() {
  if (frozen_values_.empty())
    for (const Place& p : frozen_) frozen_values_.push_back(read_piece(value(p), piece(p)));
  for (const Place& p : frozen_) {
    const Tensor& grad = parameters_[p.parameter].var.grad();
    write_piece(grad, piece(p), Tensor::zeros(read_piece(grad, piece(p)).shape(), grad.dtype()));
  }
  std::vector<std::vector<double>> norms;
  if (config_.expert_grad_clip == 0 && !config_.log_expert_norms) return norms;
  for (const auto& [layer, experts] : experts_) {
    norms.emplace_back();
    for (const std::vector<Place>& places : experts) {
      double squares = 0;
      for (const Place& p : places) {
        const double n = piece_norm(parameters_[p.parameter].var.grad(), piece(p));
        squares += n * n;
      }
      const double norm = std::sqrt(squares), factor = clip_factor(norm, config_.expert_grad_clip);
      norms.back().push_back(norm);
      if (!(factor < 1)) continue;
      for (const Place& p : places) {
        const Tensor& grad = parameters_[p.parameter].var.grad();
        const Tensor scaled = read_piece(grad, piece(p));
        scale_values(scaled, [&](int64_t) { return factor; });
        write_piece(grad, piece(p), scaled);
      }
    }
  }
  return norms;
}

bool ExpertCare::is_frozen(const Place& p) const {
  return std::find(frozen_.begin(), frozen_.end(), p) != frozen_.end();
}

void ExpertCare::restore_frozen() {
  for (size_t i = 0; i < frozen_values_.size(); ++i)
    write_piece(value(frozen_[i]), piece(frozen_[i]), frozen_values_[i]);
}

std::vector<RevivedExpert> ExpertCare::revive(
    const std::vector<std::pair<int, const RouterStats*>>& loads, int64_t step,
    const std::vector<StateSlot>& slots) {
  std::vector<RevivedExpert> revived;
  if (config_.dead_expert_steps == 0) return revived;
  for (const auto& [layer, stats] : loads) {
    const auto found = experts_.find(layer);
    if (found == experts_.end()) continue;
    const size_t E = found->second.size();
    std::vector<int64_t>& idle = idle_[layer];
    idle.resize(E, 0);
    double total = 0;
    for (size_t e = 0; e < E; ++e) total += double(stats->counts_E[e]);
    const auto busiest = int64_t(
        std::max_element(stats->counts_E.begin(), stats->counts_E.begin() + std::ptrdiff_t(E)) -
        stats->counts_E.begin());
    for (size_t e = 0; e < E; ++e) {
      const bool dead = double(stats->counts_E[e]) < kDeadShare * total / double(E);
      idle[e] = dead ? idle[e] + 1 : 0;
      if (idle[e] < config_.dead_expert_steps || int64_t(e) == busiest) continue;
      const std::vector<Place>& places = found->second[e];
      if (std::any_of(places.begin(), places.end(), [&](const Place& p) { return is_frozen(p); }))
        continue;
      revived.push_back({layer, int64_t(e), busiest});
      copy_expert(revived.back(), step, slots);
      idle[e] = 0;
    }
  }
  return revived;
}

void ExpertCare::copy_expert(const RevivedExpert& r, int64_t step,
                             const std::vector<StateSlot>& slots) {
  const auto& experts = experts_.at(r.layer);
  const std::vector<Place>&to = experts[size_t(r.expert)], &from = experts[size_t(r.from)];
  const RngStream draws(config_.seed, uint64_t(step), "expert.revive", r.layer);
  int64_t tensor = r.expert * 64;  // a row of draws for each tensor
  const auto apart = [&](const Tensor& values) {
    const int64_t row = tensor++;
    scale_values(values, [&](int64_t i) { return 1 + kSpread * draws.normal(i, row); });
  };
  // Added, not multiplied: tokens then prefer one or the other by directions that the row ignored.
  const auto add_noise = [&](const Tensor& row) {
    with_elements(row, [&](auto values) {
      using Number = std::remove_reference_t<decltype(values[0])>;
      double squares = 0;
      for (const Number v : values) squares += double(v) * double(v);
      const double deviation = kGateSpread * std::sqrt(squares / double(values.size()));
      for (size_t i = 0; i < values.size(); ++i)
        values[i] += Number(deviation * draws.normal(int64_t(i), tensor));
    });
    ++tensor;
  };
  for (size_t i = 0; i < to.size(); ++i) {
    const Tensor values = read_piece(value(from[i]), piece(from[i]));
    apart(values);
    write_piece(value(to[i]), piece(to[i]), values);
    for (const StateSlot& slot : slots)
      if (slot.parameter == from[i].parameter)
        write_piece(slot.value, piece(to[i]), read_piece(slot.value, piece(from[i])));
  }
  // The row of the gate, where the router has one for each output.
  const auto copy_row = [&](const Tensor& stored, const Piece& p, bool is_weight) {
    const Tensor all = read_piece(stored, p);
    if (all.shape().rank() != 2 || all.size(0) <= std::max(r.expert, r.from)) return;
    const Tensor row = all.rows(r.from, r.from + 1).clone();
    if (is_weight) add_noise(row);
    const Tensor target = all.rows(r.expert, r.expert + 1);
    std::copy_n(row.raw(), size_t(row.stored_bytes()), target.raw());
    write_piece(stored, p, all);
  };
  if (const auto gates = gates_.find(r.layer); gates != gates_.end())
    for (const Place& g : gates->second) {
      if (is_frozen(g)) continue;
      if (!ends_with(piece(g).name, ".gate.weight") &&
          !ends_with(piece(g).name, ".noise_gate.weight"))
        continue;
      if (piece(g).name.find("constant_experts") != std::string::npos) continue;
      copy_row(value(g), piece(g), true);
      for (const StateSlot& slot : slots)
        if (slot.parameter == g.parameter) copy_row(slot.value, piece(g), false);
    }
  if (freezes_router_) return;
  const std::string layer = str(".layers.", r.layer, ".");
  for (const Buffer& b : buffers_)
    if (("." + b.name).find(layer) != std::string::npos && b.value.dtype() == DType::f32 &&
        b.value.numel() > std::max(r.expert, r.from) &&
        b.value.numel() >= int64_t(experts.size())) {
      const std::span<float> bias = b.value.data<float>();
      bias[size_t(r.expert)] = bias[size_t(r.from)];
    }
}

Json ExpertCare::state() const {
  JsonObject out;
  for (const auto& [layer, idle] : idle_) out[str(layer)] = JsonArray(idle.begin(), idle.end());
  return out;
}

void ExpertCare::load_state(const Json& state) {
  idle_.clear();
  if (!state.is_object()) return;
  for (const auto& [layer, experts] : experts_) {
    const Json* found = state.get_object().if_contains(str(layer));
    if (!found || !found->is_array() || found->get_array().size() != experts.size()) continue;
    for (const Json& n : found->get_array())
      idle_[layer].push_back(n.is_int64() ? std::max<int64_t>(0, n.get_int64()) : 0);
  }
}

}  // namespace moe
