// SPDX-License-Identifier: MIT
#include "moe/nn/moe/balance_losses.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "moe/base/parallel.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/ops/elementwise.h"

namespace moe {
namespace {

// grad[t, e] += value(t, e), rounded once to the gradient's type.
template <class F>
void add_to_grad(const Tensor& grad_TE, F value) {
  const int64_t T = grad_TE.size(0), E = grad_TE.size(1);
  const auto add = [&]<class Number>(std::span<Number> grad) {
    parallel_for(T, 64, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        for (int64_t e = 0; e < E; ++e) grad[size_t(t * E + e)] += Number(value(t, e));
    });
  };
  if (grad_TE.dtype() == DType::f64)
    add(grad_TE.data<double>());
  else
    add(grad_TE.data<float>());
}

// Sums over the valid tokens of each expert's score, tokens ascending.
std::vector<double> column_sums(const Tensor& scores_TE, const ForwardContext& ctx) {
  const int64_t T = scores_TE.size(0), E = scores_TE.size(1);
  std::vector<double> sums(size_t(E), 0);
  const auto sum = [&](const auto& scores) {
    for (int64_t t = 0; t < T; ++t)
      if (ctx.valid(t))
        for (int64_t e = 0; e < E; ++e) sums[size_t(e)] += double(scores[size_t(t * E + e)]);
  };
  if (scores_TE.dtype() == DType::f64)
    sum(scores_TE.data<double>());
  else
    sum(scores_TE.data<float>());
  return sums;
}

Var scalar(const char* op, double value, const Var& input,
           std::function<void(double dloss)> backward) {
  return record(
      op, Tensor::from<double>({1}, {&value, 1}), {input},
      [backward = std::move(backward)](const Tensor& dloss) { backward(dloss.data<double>()[0]); });
}

double row_logsumexp(const Tensor& logits_TE, int64_t t) {
  double top = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t e = 0; e < logits_TE.size(1); ++e) top = std::max(top, score_at(logits_TE, t, e));
  for (int64_t e = 0; e < logits_TE.size(1); ++e) sum += std::exp(score_at(logits_TE, t, e) - top);
  return top + std::log(sum);
}

int64_t count_valid(const ForwardContext& ctx, int64_t T) {
  int64_t n = 0;
  for (int64_t t = 0; t < T; ++t) n += ctx.valid(t);
  return n;
}

}  // namespace

Var switch_loss(const Var& scores_TE, const std::vector<int64_t>& counts_E,
                const ForwardContext& ctx) {
  const int64_t T = scores_TE.size(0), E = scores_TE.size(1), n = count_valid(ctx, T);
  MOE_CHECK(int64_t(counts_E.size()) == E, "[switch_loss] ", counts_E.size(), " counts for ", E,
            " experts");
  const int64_t total = std::accumulate(counts_E.begin(), counts_E.end(), int64_t{0});
  if (n == 0 || total == 0) return zero_loss();
  std::vector<double> f_E(size_t(E), 0);
  for (size_t e = 0; e < f_E.size(); ++e) f_E[e] = double(counts_E[e]) / double(total);
  return ops::scale(weighted_column_means(scores_TE, f_E, ctx), double(E));
}

Var weighted_column_means(const Var& scores_TE, const std::vector<double>& f_E,
                          const ForwardContext& ctx) {
  const int64_t T = scores_TE.size(0), n = count_valid(ctx, T);
  MOE_CHECK(int64_t(f_E.size()) == scores_TE.size(1), "[router loss] ", f_E.size(), " factors for ",
            scores_TE.size(1), " experts");
  if (n == 0) return zero_loss();
  double loss = 0;
  const std::vector<double> sum_E = column_sums(scores_TE.value(), ctx);
  for (size_t e = 0; e < f_E.size(); ++e) loss += f_E[e] * (sum_E[e] / double(n));
  return scalar("weighted_column_means", loss, scores_TE, [=](double dloss) {
    add_to_grad(scores_TE.grad(), [&](int64_t t, int64_t e) {
      return ctx.valid(t) ? dloss * f_E[size_t(e)] / double(n) : 0.0;
    });
  });
}

Var router_entropy(const Var& probs_TE, const ForwardContext& ctx) {
  const int64_t T = probs_TE.size(0), E = probs_TE.size(1), n = count_valid(ctx, T);
  if (n == 0) return zero_loss();
  double sum = 0;
  for (int64_t t = 0; t < T; ++t)
    for (int64_t e = 0; ctx.valid(t) && e < E; ++e)
      if (const double p = score_at(probs_TE.value(), t, e); p > 0) sum -= p * std::log(p);
  return scalar("router_entropy", sum / double(n), probs_TE, [=](double dloss) {
    add_to_grad(probs_TE.grad(), [&](int64_t t, int64_t e) {
      const double p = score_at(probs_TE.value(), t, e);
      return ctx.valid(t) && p > 0 ? -dloss * (std::log(p) + 1) / double(n) : 0.0;
    });
  });
}

Var router_z_loss(const Var& logits_TE, const ForwardContext& ctx) {
  const int64_t T = logits_TE.size(0), n = count_valid(ctx, T);
  if (n == 0 || logits_TE.size(1) == 0) return zero_loss();
  std::vector<double> lse(size_t(T), 0);
  parallel_for(T, 64, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) lse[size_t(t)] = row_logsumexp(logits_TE.value(), t);
  });
  double loss = 0;
  for (int64_t t = 0; t < T; ++t)
    if (ctx.valid(t)) loss += lse[size_t(t)] * lse[size_t(t)];
  return scalar("router_z_loss", loss / double(n), logits_TE, [=](double dloss) {
    add_to_grad(logits_TE.grad(), [&](int64_t t, int64_t e) {
      if (!ctx.valid(t)) return 0.0;
      return dloss * 2 * lse[size_t(t)] / double(n) *
             std::exp(score_at(logits_TE.value(), t, e) - lse[size_t(t)]);
    });
  });
}

Var balance_part(const Var& loss, double weight, RouterStats& stats) {
  const Var part = ops::scale(loss, weight);
  stats.balance_loss = part.value().data<double>()[0];
  return part;
}

Var z_part(const Var& logits_TE, double weight, RouterStats& stats, const ForwardContext& ctx) {
  if (weight == 0) return zero_loss();  // an exponential for each token and expert
  const Var part = ops::scale(router_z_loss(logits_TE, ctx), weight);
  stats.z_loss = part.value().data<double>()[0];
  return part;
}

Var normalize_rows(const Var& scores_TE) {
  const int64_t T = scores_TE.size(0), E = scores_TE.size(1);
  Tensor y = Tensor::zeros(scores_TE.shape(), scores_TE.dtype());
  std::vector<double> sum(size_t(T), 0);
  for (int64_t t = 0; t < T; ++t)
    for (int64_t e = 0; e < E; ++e) sum[size_t(t)] += score_at(scores_TE.value(), t, e);
  add_to_grad(
      y, [&](int64_t t, int64_t e) { return score_at(scores_TE.value(), t, e) / sum[size_t(t)]; });
  return record("normalize_rows", y, {scores_TE}, [=](const Tensor& dy) {
    std::vector<double> dot(size_t(T), 0);
    for (int64_t t = 0; t < T; ++t)
      for (int64_t e = 0; e < E; ++e) dot[size_t(t)] += score_at(dy, t, e) * score_at(y, t, e);
    add_to_grad(scores_TE.grad(), [&](int64_t t, int64_t e) {
      return (score_at(dy, t, e) - dot[size_t(t)]) / sum[size_t(t)];
    });
  });
}

}  // namespace moe
