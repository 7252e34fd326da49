// SPDX-License-Identifier: MIT
#include "moe/optim/muon.h"

#include <algorithm>
#include <cmath>

#include "moe/base/parallel.h"
#include "moe/kernels/kernels.h"
#include "moe/optim/grad_norm.h"

namespace moe {
namespace {

constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315, kEps = 1e-7;
constexpr int kSteps = 5;

// x y^T, both row-major.
Tensor multiply_transposed(const Tensor& x, const Tensor& y) {
  Tensor out = Tensor::empty({x.size(0), y.size(0)}, x.dtype());
  const Tensor panels = to_layout(y, Layout::panel16);
  const int32_t offsets[2] = {0, int32_t(x.size(0))};
  kernels(x.dtype()).grouped_gemm(
      {.y = out.view(), .x = x.view(), .w = panels.panels(), .bias_EN = {}, .offsets_E1 = offsets});
  return out;
}

template <class T>
void transpose_into(const Tensor& to, const Tensor& from) {
  const int64_t rows = from.size(0), cols = from.size(1);
  const std::span<T> in = from.data<T>(), out = to.data<T>();
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) out[size_t(c * rows + r)] = in[size_t(r * cols + c)];
}

Tensor transposed(const Tensor& x) {
  Tensor out = Tensor::empty({x.size(1), x.size(0)}, x.dtype());
  if (x.dtype() == DType::f64)
    transpose_into<double>(out, x);
  else
    transpose_into<float>(out, x);
  return out;
}

double frobenius_norm(const Tensor& x) {
  Var v(x, true);
  accumulate(v.grad(), x);
  const Piece whole{.name = "", .rows = x.numel(), .is_vector = true};
  return gradient_norm(
      {{.name = "", .var = v, .role = Role::matrix, .pieces = {whole}, .other_uses = {}}});
}

// out = p * x + q * y
Tensor blend(double p, const Tensor& x, double q, const Tensor& y) {
  const Kernels& k = kernels(x.dtype());
  Tensor out = Tensor::empty(x.shape(), x.dtype());
  k.scale(out.view(), x.view(), p);
  k.scale_accumulate(out.view(), y.view(), q);
  return out;
}

}  // namespace

Tensor orthogonalize(const Tensor& matrix) {
  const bool tall = matrix.size(0) > matrix.size(1);
  const Tensor start = tall ? transposed(matrix) : matrix;
  Tensor x = Tensor::empty(start.shape(), start.dtype());
  kernels(x.dtype()).scale(x.view(), start.view(), 1.0 / (frobenius_norm(start) + kEps));
  for (int i = 0; i < kSteps; ++i) {
    const Tensor a =
        multiply_transposed(x, x);  // symmetric, exactly: the chain of (i, j) is that of (j, i)
    const Tensor b = blend(kB, a, kC, multiply_transposed(a, a));
    x = blend(kA, x, 1.0, multiply_transposed(b, transposed(x)));
  }
  return tall ? transposed(x) : x;
}

void muon_update(const Tensor& w, const Tensor& buf, const Tensor& grad, const MuonStep& s) {
  const Kernels& k = kernels(w.dtype());
  Tensor g = Tensor::empty(grad.shape(), grad.dtype());
  k.scale(g.view(), grad.view(), (1 - s.momentum) * s.grad_scale);
  k.scale(buf.view(), buf.view(), s.momentum);
  k.accumulate(buf.view(), g.view());
  const Tensor o = orthogonalize(s.nesterov ? blend(1, g, s.momentum, buf) : buf);
  const double rows = double(w.size(0)), cols = double(w.size(1));
  const double scale = s.match_rms_adamw ? 0.2 * std::sqrt(std::max(rows, cols))
                                         : std::sqrt(std::max(1.0, rows / cols));
  k.scale(w.view(), w.view(), 1 - s.lr * s.weight_decay);
  k.scale_accumulate(w.view(), o.view(), -s.lr * scale);
}

namespace {

std::vector<size_t> indices(const std::vector<Parameter>& all, bool matrices) {
  std::vector<size_t> out;
  for (size_t i = 0; i < all.size(); ++i)
    if ((all[i].role == Role::matrix) == matrices) out.push_back(i);
  return out;
}

std::vector<Parameter> pick(const std::vector<Parameter>& all, const std::vector<size_t>& which) {
  std::vector<Parameter> out;
  for (const size_t i : which) out.push_back(all[i]);
  return out;
}

}  // namespace

MuonOptimizer::MuonOptimizer(const OptimConfig& config, std::vector<Parameter> parameters)
    : config_(config),
      matrices_(pick(parameters, indices(parameters, true))),
      matrix_index_(indices(parameters, true)),
      other_index_(indices(parameters, false)),
      rest_(config, pick(parameters, indices(parameters, false))) {
  for (const Parameter& p : matrices_)
    momentum_.push_back(Tensor::zeros(p.var.shape(), p.var.dtype(), p.var.value().layout()));
}

void MuonOptimizer::step(double lr, double grad_scale) {
  rest_.set_steps_done(steps_);
  steps_ += 1;
  rest_.step(lr, grad_scale);
  // Whole matrices are split over the threads: each is too small to be split well itself.
  std::vector<std::pair<size_t, const Piece*>> jobs;
  for (size_t i = 0; i < matrices_.size(); ++i)
    for (const Piece& piece : matrices_[i].pieces) jobs.emplace_back(i, &piece);
  for (const Parameter& p : matrices_) p.var.grad();  // made here, not by several threads at once
  parallel_for(int64_t(jobs.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      const auto [i, piece] = jobs[size_t(j)];
      const Var& var = matrices_[i].var;
      const Tensor w = read_piece(var.value(), *piece), buf = read_piece(momentum_[i], *piece);
      muon_update(w, buf, read_piece(var.grad(), *piece),
                  {.lr = lr,
                   .momentum = config_.momentum,
                   .weight_decay = config_.weight_decay,
                   .grad_scale = grad_scale,
                   .nesterov = uses_nesterov(config_)});
      write_piece(var.value(), *piece, w);
      write_piece(momentum_[i], *piece, buf);
    }
  });
}

std::vector<StateSlot> MuonOptimizer::state() const {
  std::vector<StateSlot> slots;
  for (size_t i = 0; i < matrices_.size(); ++i)
    slots.push_back({"momentum", matrix_index_[i], momentum_[i]});
  for (StateSlot slot : rest_.state()) {
    slot.parameter = other_index_[slot.parameter];
    slots.push_back(slot);
  }
  return slots;
}

}  // namespace moe
