// SPDX-License-Identifier: MIT
// Cosine routing (X-MoE, Chi et al. 2022, arXiv:2204.09179; the form of Tutel): a logit is the
// cosine of a projected token and an expert's vector, times exp(min(tau, log 100)) with a learned
// tau that begins at log 2. Bounded logits keep the experts' vectors from collapsing into one
// direction. Then top-k softmax; no z-loss is needed, but it may be used.
#include <algorithm>
#include <cmath>

#include "moe/base/parallel.h"
#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/score_ops.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/select.h"

namespace moe {
namespace {

constexpr double kMaxTau = 4.605170185988091;  // log 100
constexpr double kTiny = 1e-12;                // smallest length that is divided by

// Rows over their lengths.
Var unit_rows(const Var& x_TP) {
  const int64_t T = x_TP.size(0), P = x_TP.size(1);
  std::vector<double> length(size_t(T), 0), unit(size_t(T * P));
  with_elements(x_TP.value(), [&](auto x) {
    parallel_for(T, 64, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const auto row = x.subspan(size_t(t * P), size_t(P));
        double squares = 0;
        for (const auto v : row) squares += double(v) * double(v);
        length[size_t(t)] = std::max(std::sqrt(squares), kTiny);
        for (size_t p = 0; p < row.size(); ++p)
          unit[size_t(t * P) + p] = double(row[p]) / length[size_t(t)];
      }
    });
  });
  const Tensor y = Tensor::from<double>({T, P}, unit).to(x_TP.dtype());
  return record("unit_rows", y, {x_TP}, [=](const Tensor& dy) {
    if (!wants_grad(x_TP)) return;
    with_elements(x_TP.grad(), [&](auto grad) {
      using Number = std::remove_reference_t<decltype(grad[0])>;
      const std::span<const Number> up = dy.data<Number>();
      parallel_for(T, 64, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          double dot = 0;
          for (size_t i = size_t(t * P); i < size_t((t + 1) * P); ++i)
            dot += double(up[i]) * unit[i];
          for (size_t i = size_t(t * P); i < size_t((t + 1) * P); ++i)
            grad[i] += Number((double(up[i]) - dot * unit[i]) / length[size_t(t)]);
        }
      });
    });
  });
}

// exp(min(tau, log 100)) / |m_e| for each expert's vector, [1, E].
Var column_scales(const Var& m_EP, const Var& tau_1) {
  const int64_t E = m_EP.size(0);
  const Tensor rows_EP = read_rows(m_EP.value(), 0, 0, E);
  const double tau = score_at(tau_1.value().reshape({1, 1}), 0, 0);
  std::vector<double> length(size_t(E), 0), scale(size_t(E), 0);
  for (int64_t e = 0; e < E; ++e) {
    for (int64_t p = 0; p < rows_EP.size(1); ++p)
      length[size_t(e)] += score_at(rows_EP, e, p) * score_at(rows_EP, e, p);
    length[size_t(e)] = std::max(std::sqrt(length[size_t(e)]), kTiny);
    scale[size_t(e)] = std::exp(std::min(tau, kMaxTau)) / length[size_t(e)];
  }
  return record("cosine_scales", Tensor::from<double>({1, E}, scale).to(m_EP.dtype()),
                {m_EP, tau_1}, [=](const Tensor& ds) {
                  double dtau = 0;
                  const PanelMap map = m_EP.value().panel_map();
                  const auto add = [&](auto grad) {
                    using Number = std::remove_reference_t<decltype(grad[0])>;
                    for (int64_t e = 0; e < E; ++e) {
                      const double slope = -score_at(ds, 0, e) * scale[size_t(e)] /
                                           (length[size_t(e)] * length[size_t(e)]);
                      for (int64_t p = 0; p < rows_EP.size(1); ++p)
                        grad[size_t(map.offset(e, p))] += Number(slope * score_at(rows_EP, e, p));
                    }
                  };
                  for (int64_t e = 0; e < E; ++e) dtau += score_at(ds, 0, e) * scale[size_t(e)];
                  if (wants_grad(m_EP)) {
                    if (m_EP.dtype() == DType::f64)
                      add(m_EP.grad().data<double>());
                    else
                      add(m_EP.grad().data<float>());
                  }
                  if (wants_grad(tau_1) && tau < kMaxTau) {
                    if (tau_1.dtype() == DType::f64)
                      tau_1.grad().data<double>()[0] += dtau;
                    else
                      tau_1.grad().data<float>()[0] += float(dtau);
                  }
                });
}

class CosineRouter final : public SoftmaxRouter {
 public:
  CosineRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, c.cosine_dim, c.top_k, dtype),
        projection_({"cosine_projection"}, {c.cosine_dim}, d_model, false, dtype),
        tau_1_(Tensor::zeros({1}, dtype), true),
        normalize_(c.norm_topk_prob) {
    projection_.role = Role::router;
  }
  void visit_own(const Visitor& v) const override {
    GatedRouter::visit_own(v);
    projection_.visit(v);
    const std::string name = v.prefix + "gate.temperature";
    v.parameter({.name = name,
                 .var = tau_1_,
                 .role = Role::scale,
                 .pieces = {{.name = name, .rows = 1, .is_vector = true}},
                 .other_uses = {}});
  }

 private:
  // tau = log 2 + the parameter, so that it begins at log 2 from zeros.
  Scores score(const Var& x_TD, const ForwardContext& ctx) const override {
    const Var tau = map_scores("cosine_tau", tau_1_, [](double v) {
      return ValueAndSlope{v + std::log(2.0), 1};
    });
    const Var cosine_TE = gate_(unit_rows(projection_(x_TD, ctx)), ctx);
    return score_logits(
        disturbed(ops::scale_columns(cosine_TE, column_scales(gate_.weight, tau)), ctx));
  }
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    return top_k_picks(s.probs_TE.value(), k_, ctx);
  }
  Var weigh(const Scores& s, const Picks& picks, int64_t n_tokens) const override {
    const Tensor token_A = pick_tokens(picks);
    const Var p_A1 = ops::select_elements(s.probs_TE, token_A, pick_experts(picks));
    return normalize_ ? ops::normalize_per_token(p_A1, token_A, n_tokens) : p_A1;
  }

  Linear projection_;  // [P, D]
  Var tau_1_;
  bool normalize_;
};

}  // namespace

std::unique_ptr<Router> make_cosine_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return std::make_unique<CosineRouter>(config, d_model, dtype);
}

}  // namespace moe
