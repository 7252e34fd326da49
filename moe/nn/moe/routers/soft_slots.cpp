// SPDX-License-Identifier: MIT
// Soft MoE (Puigcerver et al. 2023, arXiv:2308.00951, eqs. 1 to 3): every expert works on
// slots_per_expert slots of each sequence, a slot is a mean of all its tokens weighted by the
// softmax over tokens of x Phi, and a token takes all slots' outputs weighted by the softmax over
// slots. Nothing is dropped, nothing is chosen, every expert is full; but slots mix later tokens,
// so it is not causal. Without the paper's normalisation of x and Phi.
#include <algorithm>
#include <cmath>

#include "moe/base/parallel.h"
#include "moe/nn/linear.h"
#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/score_ops.h"

namespace moe {
namespace {

// Tokens, slots and the experts' rows of one forward pass. Slot p of sequence b, of expert p / s,
// is row (p / s * B + b) * s + p % s, so that an expert's rows lie together.
struct Slots {
  std::vector<int32_t> starts_B1;
  std::vector<bool> valid_T;
  int64_t E, s;

  Slots(const ForwardContext& ctx, int64_t n_experts, int64_t slots_per_expert)
      : E(n_experts), s(slots_per_expert) {
    const std::span<const int32_t> starts = ctx.sequence_starts_B1.data<int32_t>();
    starts_B1.assign(starts.begin(), starts.end());
    for (int64_t t = 0; t < ctx.n_tokens(); ++t) valid_T.push_back(ctx.valid(t));
  }
  int64_t B() const { return int64_t(starts_B1.size()) - 1; }
  int64_t P() const { return E * s; }
  int64_t rows() const { return B() * P(); }
  int64_t row(int64_t b, int64_t p) const { return (p / s * B() + b) * s + p % s; }
  /// f(b, t) for every valid token.
  template <class F>
  void for_each_token(F f) const {
    for (int64_t b = 0; b < B(); ++b)
      for (int64_t t = starts_B1[size_t(b)]; t < starts_B1[size_t(b) + 1]; ++t)
        if (valid_T[size_t(t)]) f(b, t);
  }
};

/// Softmax of the logits [T, P] over a sequence's tokens (by_token) or over a token's slots.
std::vector<double> softmax_over(const Slots& slots, const Tensor& logits_TP, bool over_tokens) {
  const int64_t P = slots.P();
  std::vector<double> top(size_t(slots.rows()), -HUGE_VAL), sum(size_t(slots.rows()), 0),
      out(size_t(logits_TP.numel()), 0);
  if (over_tokens) {
    slots.for_each_token([&](int64_t b, int64_t t) {
      for (int64_t p = 0; p < P; ++p)
        top[size_t(b * P + p)] = std::max(top[size_t(b * P + p)], score_at(logits_TP, t, p));
    });
    slots.for_each_token([&](int64_t b, int64_t t) {
      for (int64_t p = 0; p < P; ++p)
        sum[size_t(b * P + p)] += out[size_t(t * P + p)] =
            std::exp(score_at(logits_TP, t, p) - top[size_t(b * P + p)]);
    });
    slots.for_each_token([&](int64_t b, int64_t t) {
      for (int64_t p = 0; p < P; ++p) out[size_t(t * P + p)] /= sum[size_t(b * P + p)];
    });
    return out;
  }
  slots.for_each_token([&](int64_t, int64_t t) {
    double most = -HUGE_VAL, total = 0;
    for (int64_t p = 0; p < P; ++p) most = std::max(most, score_at(logits_TP, t, p));
    for (int64_t p = 0; p < P; ++p)
      total += out[size_t(t * P + p)] = std::exp(score_at(logits_TP, t, p) - most);
    for (int64_t p = 0; p < P; ++p) out[size_t(t * P + p)] /= total;
  });
  return out;
}

// The backward of either softmax w [T, P] with the gradient dw into the logits.
void add_softmax_grad(const Slots& slots, const Var& logits_TP, const std::vector<double>& w,
                      const std::vector<double>& dw, bool over_tokens) {
  const int64_t P = slots.P();
  std::vector<double> dot(over_tokens ? size_t(slots.rows()) : w.size() / size_t(P), 0);
  const auto at = [&](int64_t b, int64_t t, int64_t p) {
    return size_t(over_tokens ? b * P + p : t);
  };
  slots.for_each_token([&](int64_t b, int64_t t) {
    for (int64_t p = 0; p < P; ++p)
      dot[at(b, t, p)] += w[size_t(t * P + p)] * dw[size_t(t * P + p)];
  });
  slots.for_each_token([&](int64_t b, int64_t t) {
    for (int64_t p = 0; p < P; ++p)
      add_to_score_grad(logits_TP, t, p,
                        w[size_t(t * P + p)] * (dw[size_t(t * P + p)] - dot[at(b, t, p)]));
  });
}

// Sums over pairs (token t, row of slot p): token rows and slot rows of the same width, weighted by
// w [T, P]. to_slots: slots += w^T tokens, else tokens += w slots.
void add_weighted(const Slots& slots, const std::vector<double>& w, const Tensor& tokens_TD,
                  const Tensor& slots_RD, bool to_slots) {
  const int64_t P = slots.P(), D = tokens_TD.size(1);
  const auto add = [&]<class T>(std::span<T> tokens, std::span<T> rows) {
    // Columns are split, so that no two threads write one element and sums run in token order.
    parallel_for(D, 8, [&](int64_t begin, int64_t end) {
      slots.for_each_token([&](int64_t b, int64_t t) {
        for (int64_t p = 0; p < P; ++p) {
          const T weight = T(w[size_t(t * P + p)]);
          T *token = tokens.data() + t * D, *row = rows.data() + slots.row(b, p) * D;
          for (int64_t d = begin; d < end; ++d) {
            if (to_slots)
              row[d] += weight * token[d];
            else
              token[d] += weight * row[d];
          }
        }
      });
    });
  };
  if (tokens_TD.dtype() == DType::f64)
    add(tokens_TD.data<double>(), slots_RD.data<double>());
  else
    add(tokens_TD.data<float>(), slots_RD.data<float>());
}

// <token t, row of slot p> for every pair: the gradient of the weights.
std::vector<double> dots(const Slots& slots, const Tensor& tokens_TD, const Tensor& slots_RD) {
  const int64_t P = slots.P(), D = tokens_TD.size(1);
  std::vector<double> out(slots.valid_T.size() * size_t(P), 0);
  slots.for_each_token([&](int64_t b, int64_t t) {
    for (int64_t p = 0; p < P; ++p)
      for (int64_t d = 0; d < D; ++d)
        out[size_t(t * P + p)] +=
            score_at(tokens_TD, t, d) * score_at(slots_RD, slots.row(b, p), d);
  });
  return out;
}

class SlotDispatch final : public Dispatch {
 public:
  SlotDispatch(Slots slots, Var logits_TP)
      : slots_(std::move(slots)), logits_TP_(std::move(logits_TP)) {}

  ExpertRows dispatch(const Var& x_TD) const override {
    const std::vector<double> w = softmax_over(slots_, logits_TP_.value(), true);
    const Tensor y = Tensor::zeros({slots_.rows(), x_TD.size(1)}, x_TD.dtype());
    add_weighted(slots_, w, x_TD.value(), y, true);
    const Var rows =
        record("slots_dispatch", y, {x_TD, logits_TP_},
               [=, slots = slots_, logits = logits_TP_](const Tensor& dy) {
                 if (wants_grad(x_TD)) add_weighted(slots, w, x_TD.grad(), dy, false);
                 add_softmax_grad(slots, logits, w, dots(slots, x_TD.value(), dy), true);
               });
    std::vector<int32_t> own, offsets;
    for (int64_t r = 0; r < slots_.rows(); ++r) own.push_back(int32_t(r));
    for (int64_t e = 0; e <= slots_.E; ++e) offsets.push_back(int32_t(e * slots_.B() * slots_.s));
    return {rows, Tensor::from<int32_t>({slots_.rows()}, own),
            Tensor::from<int32_t>({slots_.E + 1}, offsets), Var()};
  }
  Var combine(const Var& y_RD, const Var& x_TD) const override {
    const std::vector<double> w = softmax_over(slots_, logits_TP_.value(), false);
    const Tensor y = Tensor::zeros({x_TD.size(0), y_RD.size(1)}, y_RD.dtype());
    add_weighted(slots_, w, y, y_RD.value(), false);
    return record("slots_combine", y, {y_RD, logits_TP_},
                  [=, slots = slots_, logits = logits_TP_](const Tensor& dy) {
                    if (wants_grad(y_RD)) add_weighted(slots, w, dy, y_RD.grad(), true);
                    add_softmax_grad(slots, logits, w, dots(slots, dy, y_RD.value()), false);
                  });
  }

 private:
  Slots slots_;
  Var logits_TP_;
};

class SoftSlotsRouter final : public Router {
 public:
  SoftSlotsRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : n_experts_(c.n_experts),
        slots_(c.slots_per_expert),
        gate_({"gate"}, {c.n_experts * c.slots_per_expert}, d_model, false, dtype) {
    gate_.role = Role::router;
  }
  Routing route(const Var& x_TD, const ForwardContext& ctx) const override {
    const Slots slots(ctx, n_experts_, slots_);
    const Var logits_TP = gate_(x_TD, ctx);
    RouterStats stats{size_t(n_experts_)};
    const std::vector<double> share = softmax_over(slots, logits_TP.value(), false);
    slots.for_each_token([&](int64_t, int64_t t) {
      stats.n_tokens += 1;
      for (int64_t e = 0; e < n_experts_; ++e) {
        double p = 0;
        for (int64_t s = 0; s < slots_; ++s) p += share[size_t(t * slots.P() + e * slots_ + s)];
        stats.prob_sum_E[size_t(e)] += p;
        if (p > 0) stats.entropy_sum -= p * std::log(p);
      }
    });
    for (int64_t& count : stats.counts_E) count = stats.n_tokens == 0 ? 0 : slots_ * slots.B();
    return {std::make_unique<SlotDispatch>(slots, logits_TP),
            zero_loss(),
            logits_TP,
            std::move(stats),
            {},
            {},
            {}};
  }
  bool causal(bool) const override { return false; }
  void visit(const Visitor& v) const override { gate_.visit(v); }

 private:
  int64_t n_experts_, slots_;
  Linear gate_;  // Phi^T: [E s, D]
};

}  // namespace

std::unique_ptr<Router> make_soft_slots_router(const MoeConfig& config, int64_t d_model,
                                               DType dtype) {
  return std::make_unique<SoftSlotsRouter>(config, d_model, dtype);
}

}  // namespace moe
