// SPDX-License-Identifier: MIT
// Operands of the row-wise and elementwise kernels as the tests run them: rows with gaps between
// them, the last one ending at a guard page; comparison of every fast table with the reference,
// gradients with central differences, values with torch's.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "moe/base/json.h"

#include "tables.h"

namespace moe::testing {

template <class T>
struct Matrix {
  Guarded<T> numbers;  // gaps included
  int64_t rows = 0, cols = 0, stride = 0;

  Matrix(int64_t rows_, int64_t cols_, int64_t gap = 0)
      : numbers(rows_ * (cols_ + gap)), rows(rows_), cols(cols_), stride(cols_ + gap) {}
  Matrix(int64_t rows_, int64_t cols_, const std::vector<double>& values) : Matrix(rows_, cols_) {
    for (int64_t i = 0; i < numbers.size(); ++i) numbers[i] = T(values.at(size_t(i)));
  }
  MatView view() const { return numbers.view(rows, cols, stride); }
  T& at(int64_t r, int64_t c) const { return view().template at<T>(r, c); }
};

inline Matrix<float> random_matrix(int64_t rows, int64_t cols, int64_t gap, uint64_t seed,
                                   Fill fill = Fill::normal) {
  Matrix<float> m(rows, cols, gap);
  m.numbers = random_floats(m.numbers.size(), seed, fill);
  return m;
}

inline Matrix<double> normal_matrix(int64_t rows, int64_t cols, uint64_t seed) {
  Matrix<double> m(rows, cols);
  const RngStream rng(seed, 0, "gradient test");
  for (int64_t i = 0; i < m.numbers.size(); ++i) m.numbers[i] = rng.normal(i, 0);
  return m;
}

/// What the tables are compared on: sizes around the width of every register, gaps, zero rows, and
/// numbers of every kind.
struct Shape2 {
  int64_t rows, cols, gap;
  Fill fill;
};

template <class F>
void for_each_shape(F f) {
  for (const int64_t rows : {0, 1, 3, 17})
    for (const int64_t cols : {1, 3, 15, 16, 17, 63, 65, 127, 384})
      for (const int64_t gap : {0, 5})
        for (const Fill fill : {Fill::normal, Fill::special}) {
          SCOPED_TRACE(str(rows, " x ", cols, ", gap ", gap,
                           fill == Fill::special ? ", special values" : ""));
          f(Shape2{rows, cols, gap, fill});
        }
}

/// Sizes large enough to be cut for several threads, by rows, by columns and as one long row; f
/// runs with 1, 2 and 3 threads.
template <class F>
void for_each_threaded_shape(F f) {
  for (const int threads : {1, 2, 3}) {
    set_threads(threads);
    for (const Shape2 s : {Shape2{130, 384, 5, Fill::normal},
                           {2, 33001, 0, Fill::normal},
                           {12001, 3, 0, Fill::normal},
                           {1, 50021, 0, Fill::normal}}) {
      SCOPED_TRACE(str(threads, " threads, ", s.rows, " x ", s.cols));
      f(s);
    }
  }
  set_threads(0);
}

/// Runs call(table, views of the operands) on copies of the operands with the reference and with
/// every fast table: afterwards all operands have the same bits, gaps and inputs included.
template <class Call>
void expect_reference(const std::vector<Matrix<float>>& operands, Call call) {
  const auto run = [&](const Kernels& k) {
    std::vector<Matrix<float>> mine = operands;
    std::vector<MatView> views;
    for (const auto& m : mine) views.push_back(m.view());
    call(k, views);
    return mine;
  };
  const auto want = run(ref_kernels<float>());
  for_each_table([&](const Kernels& k) {
    const auto got = run(k);
    for (size_t i = 0; i < want.size(); ++i)
      expect_same(got[i].numbers, want[i].numbers, str("operand ", i).c_str());
  });
}

/// dx against central differences of loss() in x. A step of 1e-5 leaves an error of about 1e-10
/// from the third derivative and from rounding; 1e-6 of the gradient's norm separates that from any
/// wrong term.
template <class Loss>
void expect_gradient(const Matrix<double>& dx, const Matrix<double>& x, Loss loss,
                     const char* what) {
  constexpr double kStep = 1e-5;
  double error2 = 0, norm2 = 0;
  for (int64_t r = 0; r < x.rows; ++r)
    for (int64_t c = 0; c < x.cols; ++c) {
      const double old = x.at(r, c);
      x.at(r, c) = old + kStep;
      const double above = loss();
      x.at(r, c) = old - kStep;
      const double below = loss();
      x.at(r, c) = old;
      const double slope = (above - below) / (2 * kStep), error = dx.at(r, c) - slope;
      error2 += error * error;
      norm2 += slope * slope;
    }
  EXPECT_GT(norm2, 0) << what;
  EXPECT_LT(std::sqrt(error2), 1e-6 * std::sqrt(norm2)) << what;
}

inline double dot(const Matrix<double>& a, const Matrix<double>& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.numbers.size(); ++i) sum += a.numbers[i] * b.numbers[i];
  return sum;
}

/// tests/golden/kernels/rows.json, made by tools/make_row_golden.py.
inline const JsonObject& row_golden() {
  static const Json json = read_json(MOE_GOLDEN_DIR "/kernels/rows.json", "[test] rows.json");
  return json.as_object();
}

inline std::vector<double> numbers_of(const Json& json) {
  std::vector<double> out;
  for (const Json& value : json.as_array()) {
    if (value.is_array())
      for (const double x : numbers_of(value)) out.push_back(x);
    else
      out.push_back(value.to_number<double>());
  }
  return out;
}

/// The table of T on torch's float64 values: a few roundings of T on numbers of order one.
template <class T>
void expect_golden(const Matrix<T>& got, const Json& want_json, const char* what) {
  const std::vector<double> want = numbers_of(want_json);
  ASSERT_EQ(got.numbers.size(), int64_t(want.size())) << what;
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(double(got.numbers[int64_t(i)]), want[i],
                16 * std::numeric_limits<T>::epsilon() * std::max(1.0, std::fabs(want[i])))
        << what << " " << i;
}

}  // namespace moe::testing
