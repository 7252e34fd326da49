// SPDX-License-Identifier: MIT
// One router by itself: logits are what a test says, because the gate is the identity matrix, and
// combine weights are read off the sums that combine makes.
#pragma once

#include <cmath>
#include <gtest/gtest.h>
#include <map>
#include <vector>

#include "moe/autograd/tape.h"
#include "moe/base/rng.h"
#include "moe/nn/model_config.h"
#include "moe/nn/moe/routers.h"

namespace moe::testing {

using Rows = std::vector<std::vector<double>>;

inline std::vector<Parameter> parameters_of(const Router& router) {
  std::vector<Parameter> out;
  Visitor v;
  v.parameter = [&](const Parameter& p) { out.push_back(p); };
  router.visit(v);
  return out;
}
inline std::vector<Buffer> buffers_of(const Router& router) {
  std::vector<Buffer> out;
  Visitor v;
  v.buffer = [&](const Buffer& b) { out.push_back(b); };
  router.visit(v);
  return out;
}

inline Tensor matrix(const Rows& rows, DType dtype = DType::f64) {
  std::vector<double> all;
  for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
  const int64_t cols = rows.empty() ? 4 : int64_t(rows[0].size());
  return Tensor::from<double>({int64_t(rows.size()), cols}, all).to(dtype);
}

/// A router of as many outputs as its input has columns, whose logits are its input.
inline std::unique_ptr<Router> identity_router(const MoeConfig& config, DType dtype = DType::f64) {
  const int64_t n = router_outputs(config);
  auto router = make_router(config, n, dtype);
  Rows eye(size_t(n), std::vector<double>(size_t(n), 0));
  for (size_t i = 0; i < eye.size(); ++i) eye[i][i] = 1;
  for (const Parameter& p : parameters_of(*router))
    for (const Piece& piece : p.pieces) write_piece(p.var.value(), piece, matrix(eye, dtype));
  return router;
}

/// Token counts of sequences packed one behind the other.
inline ForwardContext context(const std::vector<int64_t>& lengths) {
  std::vector<std::vector<int32_t>> ids;
  for (const int64_t n : lengths) ids.emplace_back(size_t(n), 0);
  return pack_sequences(ids);
}

inline double scalar(const Var& v) { return v.value().data<double>()[0]; }

/// (token, expert) -> choice.
inline std::map<std::pair<int, int>, int> choices(const Picks& picks) {
  std::map<std::pair<int, int>, int> out;
  for (const Pick& p : picks) out[{p.token, p.expert}] = p.choice;
  return out;
}

/// Combine weight of each real expert's row by (token, expert), float64 routers only: a row of ones
/// among rows of zeros leaves its weight in the sum (less what identity experts add by themselves).
inline std::map<std::pair<int, int>, double> weights(const Routing& routing, const Tensor& x_TD) {
  const ExpertRows rows = routing.dispatch->dispatch(Var(x_TD));
  const Tensor zeros = Tensor::zeros(rows.rows_RD().shape(), DType::f64);
  const Tensor without = routing.dispatch->combine(Var(zeros), Var(x_TD)).value();
  std::map<std::pair<int, int>, double> out;
  for (int64_t r = 0; r < rows.rows_RD().size(0); ++r) {
    const Tensor y = zeros.clone();
    for (double& v : y.rows(r, r + 1).data<double>()) v = 1;
    const Tensor sum = routing.dispatch->combine(Var(y), Var(x_TD)).value();
    const Pick& p = routing.picks[size_t(r)];  // real experts come first
    out[{p.token, p.expert}] =
        sum.view().at<double>(p.token, 0) - without.view().at<double>(p.token, 0);
  }
  return out;
}

}  // namespace moe::testing
