// SPDX-License-Identifier: MIT
#include "moe/nn/dora.h"

#include <cmath>
#include <numeric>

#include "moe/autograd/tape.h"
#include "moe/base/parallel.h"

namespace moe {
namespace {

constexpr int64_t kGrain = 16;  // rows or columns of a thread's piece of work

/// Where the numbers of one target stand among those of the weight's gain.
struct Place {
  int64_t row, n;
};
Place place_of(const LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes,
               size_t target) {
  if (part.embedding) return {0, weight.shape()[-1]};
  const auto name = std::ptrdiff_t(part.targets[target]);
  return {std::accumulate(sizes.begin(), sizes.begin() + name, int64_t{0}), sizes[size_t(name)]};
}

int64_t n_gains(const LoraPart& part, const Var& weight) {
  return part.embedding ? 1 : weight.value().n_matrices();
}

/// One number for each row of the weight, laid out as its rows are: [n_matrices, rows, 1] panels.
Tensor column_panels(const LoraPart& part, const Var& weight) {
  const Tensor& w = weight.value();
  if (part.embedding) return Tensor::zeros({w.size(1), 1}, w.dtype(), Layout::panel16);
  return Tensor::zeros({w.n_matrices(), w.shape()[-2], 1}, w.dtype(), w.layout());
}

/// The same numbers where the weight's output columns are: [n_matrices, columns].
Tensor panels_to_columns(const Tensor& panels) {
  const PanelMap map = panels.panel_map();
  const Tensor out = Tensor::empty({panels.n_matrices(), map.out_cols()}, panels.dtype());
  with_elements(out, [&](auto to) {
    using Number = std::remove_reference_t<decltype(to[0])>;
    const auto from = panels.data<Number>();
    for (int64_t e = 0; e < panels.n_matrices(); ++e)
      std::copy_n(from.begin() + e * map.stored_rows(), map.out_cols(),
                  to.begin() + e * map.out_cols());
  });
  return out;
}

void columns_to_panels(const Tensor& panels, const Tensor& columns) {
  const PanelMap map = panels.panel_map();
  with_elements(panels, [&](auto to) {
    using Number = std::remove_reference_t<decltype(to[0])>;
    const auto from = columns.data<Number>();
    for (int64_t e = 0; e < panels.n_matrices(); ++e)
      std::copy_n(from.begin() + e * map.out_cols(), map.out_cols(),
                  to.begin() + e * map.stored_rows());
  });
}

}  // namespace

void LowRank::add_to_row(const Tensor& w_OI, int64_t row, int64_t begin, int64_t end,
                         double* out) const {
  const int64_t rank = left_OR.size(1), in = right_RI.size(1);
  std::fill(out, out + (end - begin), 0.0);
  with_elements(w_OI, [&](auto w) {
    using Number = std::remove_reference_t<decltype(w[0])>;
    const auto left = left_OR.data<Number>(), right = right_RI.data<Number>();
    for (int64_t k = 0; k < rank; ++k) {
      const double factor = double(left[size_t(row * rank + k)]);
      const Number* values = right.data() + k * in + begin;
      for (int64_t j = 0; j < end - begin; ++j) out[j] += factor * double(values[j]);
    }
    const Number* values = w.data() + row * in + begin;
    for (int64_t j = 0; j < end - begin; ++j) out[j] = double(values[j]) + scale * out[j];
  });
}

LowRank low_rank(const LoraPart& part, size_t target, int64_t expert) {
  const Tensor &a = part.a.value(), &b = part.b[target].value();
  const int64_t pair = part.shared ? 0 : std::max<int64_t>(0, expert), r = part.rank;
  if (part.embedding)
    return {read_rows(a, 0, 0, a.size(0)), transposed(read_rows(b, 0, 0, b.size(0))), part.scale};
  return {read_rows(b, pair, 0, b.shape()[-2]), read_rows(a, pair, int64_t(target) * r, r),
          part.scale};
}

Tensor dora_norms(const LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes,
                  size_t target, int64_t expert) {
  const LowRank change = low_rank(part, target, expert);
  const Place place = place_of(part, weight, sizes, target);
  const int64_t rows = change.left_OR.size(0), in = change.right_RI.size(1);
  const Tensor w_OI =
      read_rows(weight.value(), std::max<int64_t>(0, expert), part.embedding ? 0 : place.row, rows);
  std::vector<double> squares(size_t(place.n), 0);
  parallel_for(place.n, kGrain, [&](int64_t begin, int64_t end) {
    if (part.embedding) {
      std::vector<double> values(static_cast<size_t>(end - begin));
      for (int64_t row = 0; row < rows; ++row) {
        change.add_to_row(w_OI, row, begin, end, values.data());
        for (int64_t j = begin; j < end; ++j)
          squares[size_t(j)] += values[size_t(j - begin)] * values[size_t(j - begin)];
      }
      return;
    }
    std::vector<double> values(static_cast<size_t>(in));
    for (int64_t row = begin; row < end; ++row) {
      change.add_to_row(w_OI, row, 0, in, values.data());
      for (const double x : values) squares[size_t(row)] += x * x;
    }
  });
  const Tensor out = Tensor::empty({place.n}, weight.dtype());
  with_elements(out, [&](auto norms) {
    using Number = std::remove_reference_t<decltype(norms[0])>;
    for (size_t i = 0; i < norms.size(); ++i) norms[i] = Number(std::sqrt(squares[i]));
  });
  return out;
}

void add_magnitudes(LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes) {
  part.norms = std::make_shared<NormCache>();
  const int64_t n = n_gains(part, weight);
  for (size_t i = 0; i < part.targets.size(); ++i) {
    const int64_t rows = place_of(part, weight, sizes, i).n;
    const bool stacked = weight.shape().rank() == 3;
    const Shape shape = stacked ? Shape{n, rows, 1} : Shape{rows, 1};
    const Tensor m = Tensor::zeros(shape, weight.dtype(), Layout::panel16);
    for (int64_t e = 0; e < n; ++e)
      write_rows(m, e, 0, dora_norms(part, weight, sizes, i, stacked ? e : -1).reshape({rows, 1}));
    part.m.emplace_back(m, true);
  }
}

Tensor NormCache::norms(const LoraPart& part, const Var& weight,
                        const std::vector<int64_t>& sizes) {
  const std::lock_guard lock(mutex_);
  bool same = norms_ && same_bits(a_, part.a.value());
  for (size_t i = 0; same && i < part.b.size(); ++i) same = same_bits(b_[i], part.b[i].value());
  if (same) return norms_;
  const Tensor panels = column_panels(part, weight);
  for (size_t i = 0; i < part.targets.size(); ++i)
    for (int64_t e = 0; e < n_gains(part, weight); ++e) {
      const Place place = place_of(part, weight, sizes, i);
      write_rows(panels, e, place.row,
                 dora_norms(part, weight, sizes, i, weight.shape().rank() == 3 ? e : -1)
                     .reshape({place.n, 1}));
    }
  norms_ = panels_to_columns(panels);
  a_ = part.a.value().clone();
  b_.clear();
  for (const Var& b : part.b) b_.push_back(b.value().clone());
  return norms_;
}

Var dora_gain(const LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes) {
  const Tensor norms = part.norms->norms(part, weight, sizes);
  std::vector<Place> places;
  const Tensor magnitudes = column_panels(part, weight);
  const int64_t n = n_gains(part, weight);
  for (size_t i = 0; i < part.m.size(); ++i) {
    places.push_back(place_of(part, weight, sizes, i));
    for (int64_t e = 0; e < n; ++e)
      write_rows(magnitudes, e, places[i].row, read_rows(part.m[i].value(), e, 0, places[i].n));
  }
  const Tensor m = panels_to_columns(magnitudes);
  const Tensor gain =
      Tensor::empty(weight.shape().rank() == 3 ? m.shape() : Shape{m.size(1)}, m.dtype());
  with_elements(gain, [&](auto out) {
    using Number = std::remove_reference_t<decltype(out[0])>;
    const auto over = m.data<Number>(), under = norms.data<Number>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = under[i] == 0 ? 1 : over[i] / under[i];
  });
  return record("dora_gain", gain, part.m,
                [norms, places, n, m = part.m, panels = magnitudes](const Tensor& dgain) {
                  const Tensor scaled = Tensor::empty(norms.shape(), norms.dtype());
                  with_elements(scaled, [&](auto out) {
                    using Number = std::remove_reference_t<decltype(out[0])>;
                    const auto over = dgain.data<Number>(), under = norms.data<Number>();
                    for (size_t i = 0; i < out.size(); ++i)
                      out[i] = under[i] == 0 ? 0 : over[i] / under[i];
                  });
                  const Tensor rows =
                      Tensor::zeros(panels.shape(), panels.dtype(), panels.layout());
                  columns_to_panels(rows, scaled);
                  for (size_t i = 0; i < m.size(); ++i) {
                    const Tensor& value = m[i].value();
                    const Tensor dm = Tensor::zeros(value.shape(), value.dtype(), value.layout());
                    for (int64_t e = 0; e < n; ++e)
                      write_rows(dm, e, 0, read_rows(rows, e, places[i].row, places[i].n));
                    accumulate(m[i].grad(), dm);
                  }
                });
}

}  // namespace moe
