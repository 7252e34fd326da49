// SPDX-License-Identifier: MIT
#include "moe/optim/muon.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "moe/base/parallel.h"
#include "moe/kernels/kernels.h"
#include "moe/optim/grad_norm.h"

namespace moe {
namespace {

constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315, kEps = 1e-7;

// The matrix, or its transpose where that is taller: z [long side, short side], row-major. Panels
// of a wide matrix are pieces of the rows of its transpose.
bool is_tall(const Tensor& matrix) { return matrix.size(0) > matrix.size(1); }

// A symmetric matrix [n, n] from rows to panels and back: 16 numbers of a row lie side by side in
// either.
void copy_symmetric(const Tensor& rows, const Tensor& panels, bool to_panels) {
  const int64_t n = rows.size(0), element = dtype_bytes(rows.dtype());
  for (int64_t p = 0; p < n; p += 16)
    for (int64_t k = 0; k < n; ++k) {
      std::byte *in_panel = panels.raw() + (p * n + k * 16) * element,
                *in_row = rows.raw() + (k * n + p) * element;
      const size_t bytes = size_t(std::min<int64_t>(16, n - p) * element);
      if (to_panels)
        std::memcpy(in_panel, in_row, bytes);
      else
        std::memcpy(in_row, in_panel, bytes);
    }
}

// out = p * x + q * y; out may be x.
void blend(const Tensor& out, double p, const Tensor& x, double q, const Tensor& y) {
  const Kernels& k = kernels(x.dtype());
  k.scale(out.view(), x.view(), p);
  k.scale_accumulate(out.view(), y.view(), q);
}

// In place, z [m, n] with m >= n, its norm known. With x = z^T: A = x x^T = z^T z is an outer
// product over the rows of z, and (A x)^T = z A.
void newton_schulz(const Tensor& z, double norm, int64_t iterations) {
  const int64_t m = z.size(0), n = z.size(1);
  const DType dtype = z.dtype();
  const Kernels& k = kernels(dtype);
  const int32_t long_rows[2] = {0, int32_t(m)}, short_rows[2] = {0, int32_t(n)};
  // Symmetric, exactly: the chain of (i, j) is that of (j, i).
  const Tensor panels = Tensor::empty({n, n}, dtype, Layout::panel16),
               a = Tensor::empty({n, n}, dtype), b = Tensor::empty({n, n}, dtype),
               y = Tensor::empty({m, n}, dtype);
  k.scale(z.view(), z.view(), 1.0 / (norm + kEps));
  for (int64_t i = 0; i < iterations; ++i) {
    k.grouped_gemm_dw({.y = z.view(),
                       .x = z.view(),
                       .w = panels.panels(),
                       .bias_EN = {},
                       .offsets_E1 = long_rows,
                       .accumulate = false});
    copy_symmetric(a, panels, false);
    k.grouped_gemm({.y = b.view(),
                    .x = a.view(),
                    .w = panels.panels(),
                    .bias_EN = {},
                    .offsets_E1 = short_rows});
    k.scale(a.view(), a.view(), kB);
    k.scale_accumulate(a.view(), b.view(), kC);
    copy_symmetric(a, panels, true);
    k.grouped_gemm({.y = y.view(),
                    .x = z.view(),
                    .w = panels.panels(),
                    .bias_EN = {},
                    .offsets_E1 = long_rows});
    blend(z, kA, z, 1.0, y);
  }
}

double update_scale(const MuonStep& s, double rows, double cols) {
  return s.match_rms_adamw ? 0.2 * std::sqrt(std::max(rows, cols))
                           : std::sqrt(std::max(1.0, rows / cols));
}

// buf = momentum * buf + (1 - momentum) g, and the direction: buf, or with Nesterov (1 - momentum)
// g
// + momentum * buf.
void momentum_step(const MatView& direction, const MatView& buf, const MatView& grad,
                   const MuonStep& s) {
  const Kernels& k = kernels(grad.dtype);
  k.scale(direction, grad, (1 - s.momentum) * s.grad_scale);
  k.scale(buf, buf, s.momentum);
  k.accumulate(buf, direction);
  if (s.nesterov)
    k.scale_accumulate(direction, buf, s.momentum);
  else
    k.scale(direction, buf, 1);
}

void weight_step(const MatView& w, const MatView& direction, double scale, const MuonStep& s) {
  const Kernels& k = kernels(w.dtype);
  k.scale(w, w, 1 - s.lr * s.weight_decay);
  k.scale_accumulate(w, direction, -s.lr * scale);
}

// All stored elements as one row; pads are 0 in weight, gradient and momentum, and stay so.
MatView flat(const Tensor& t) {
  return {t.raw(), t.dtype(), 1, t.stored_numel(), t.stored_numel()};
}

}  // namespace

Tensor orthogonalize(const Tensor& matrix, int64_t iterations) {
  const Piece whole{.name = "", .rows = matrix.numel(), .is_vector = true};
  const Tensor z = is_tall(matrix) ? matrix.clone() : transposed(matrix);
  newton_schulz(z, piece_norm(matrix, whole), iterations);
  return is_tall(matrix) ? z : transposed(z);
}

void muon_update(const Tensor& w, const Tensor& buf, const Tensor& grad, const MuonStep& s) {
  const Tensor direction = Tensor::empty(grad.shape(), grad.dtype());
  momentum_step(direction.view(), buf.view(), grad.view(), s);
  weight_step(w.view(), orthogonalize(direction, s.iterations).view(),
              update_scale(s, double(w.size(0)), double(w.size(1))), s);
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
  const MuonStep s = {.lr = lr,
                      .momentum = config_.momentum,
                      .weight_decay = config_.weight_decay,
                      .grad_scale = grad_scale,
                      .nesterov = uses_nesterov(config_),
                      .iterations = config_.muon_steps};
  // What acts on single numbers acts on whole parameters as they are stored; only the directions
  // are taken apart into matrices. Those are split over the threads whole: each is too small to be
  // split well itself.
  struct Job {
    const Tensor* direction;
    const Piece* piece;
  };
  std::vector<Tensor> directions;
  std::vector<Job> jobs;
  directions.reserve(matrices_.size());
  for (size_t i = 0; i < matrices_.size(); ++i) {
    const Var& var = matrices_[i].var;
    directions.push_back(Tensor::zeros(var.shape(), var.dtype(), var.value().layout()));
    momentum_step(flat(directions[i]), flat(momentum_[i]), flat(var.grad()), s);
    for (const Piece& piece : matrices_[i].pieces) jobs.push_back({&directions[i], &piece});
  }
  parallel_for(int64_t(jobs.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      const auto [stored, piece] = jobs[size_t(j)];
      write_piece(*stored, *piece, orthogonalize(read_piece(*stored, *piece), s.iterations));
    }
  });
  for (size_t i = 0; i < matrices_.size(); ++i) {
    const Parameter& p = matrices_[i];
    const double cols = double(p.var.shape()[-1]);
    const bool alike = std::all_of(p.pieces.begin(), p.pieces.end(), [&](const Piece& piece) {
      return piece.rows == p.pieces.front().rows;
    });
    if (alike) {
      weight_step(flat(p.var.value()), flat(directions[i]),
                  update_scale(s, double(p.pieces.front().rows), cols), s);
      continue;
    }
    for (const Piece& piece : p.pieces) {  // queries and fewer keys and values, for instance
      const Tensor w = read_piece(p.var.value(), piece);
      weight_step(w.view(), read_piece(directions[i], piece).view(),
                  update_scale(s, double(piece.rows), cols), s);
      write_piece(p.var.value(), piece, w);
    }
  }
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
