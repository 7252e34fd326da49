// SPDX-License-Identifier: MIT
// The fast linear maps against ref<float>, bit for bit, over odd sizes, groupings, strides and
// threads. Every buffer ends at a guard page, and what a kernel must not touch (gaps between rows,
// pads of gradients) is compared too.
#include <numeric>
#include <vector>

#include "tables.h"

namespace moe::testing {
namespace {

struct LinearCase {
  int64_t N = 1, K = 1;
  bool gate_up = false;
  std::vector<int32_t> rows_E{1};
  bool gather = false, bias = false;
  int64_t gap = 0;  // unused floats before each row
  Fill fill = Fill::normal;

  std::string text() const {
    return str("N ", N, gate_up ? " gate_up" : "", " K ", K, " experts ", rows_E.size(),
               " rows[0] ", rows_E[0], gather ? " gather" : "", bias ? " bias" : "", " gap ", gap,
               fill == Fill::special ? " special" : "");
  }
};

/// The operands of one grouped linear map; y serves as dy, too.
struct Linear {
  PanelMap map;
  int64_t experts, rows, gap;
  std::vector<int32_t> offsets, gather;
  Guarded<float> x, w, y, bias;

  explicit Linear(const LinearCase& c)
      : map{c.N, c.K, c.gate_up}, experts(int64_t(c.rows_E.size())), gap(c.gap), offsets(1, 0) {
    for (const int32_t n : c.rows_E) offsets.push_back(offsets.back() + n);
    rows = offsets.back();
    if (c.gather)
      for (int64_t r = 0; r < rows; ++r) gather.push_back(int32_t((r * 7 + 3) % rows));
    x = random_floats(rows * (c.K + gap), 1, c.fill);
    w = random_floats(experts * map.stored_numel(), 2, c.fill);
    y = random_floats(rows * (map.out_cols() + gap), 3, c.fill);
    if (c.bias) bias = random_floats(experts * map.out_cols(), 4, c.fill);
  }

  GroupedGemm args() const {
    return {.y = y.view(rows, map.out_cols(), map.out_cols() + gap),
            .x = x.view(rows, map.cols, map.cols + gap),
            .w = {w.data(), DType::f32, experts, map},
            .bias_EN = bias.size() ? bias.view(experts, map.out_cols(), map.out_cols()) : MatView{},
            .offsets_E1 = offsets,
            .gather_R = gather.empty() ? nullptr : gather.data()};
  }
  /// Pads hold what no chain may meet.
  void poison_pads(Guarded<float>& dy) const {
    const PanelMap::Ranges valid = map.valid_ranges();
    const MatView view = dy.view(rows, map.out_cols(), map.out_cols() + gap);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t s = 0; s < map.out_cols(); ++s) {
        bool real = false;
        for (int i = 0; i < valid.count; ++i)
          real = real || (s >= valid.range[size_t(i)][0] && s < valid.range[size_t(i)][1]);
        if (!real) view.at<float>(r, s) = std::numeric_limits<float>::quiet_NaN();
      }
  }
};

enum class Threads { one, several };

/// Forward, dx, dw and the bias gradient of every table.
void expect_equal_to_reference(const LinearCase& c, Threads threads = Threads::one) {
  SCOPED_TRACE(c.text());
  const Kernels& ref = ref_kernels<float>();
  Linear inputs(c), forward = inputs;
  ref.grouped_gemm(forward.args());
  inputs.poison_pads(inputs.y);
  Linear dx = inputs, dw = inputs;
  GroupedGemm without_gather = dx.args();
  without_gather.gather_R = nullptr;
  ref.grouped_gemm_dx(without_gather);
  ref.grouped_gemm_dw(dw.args());
  const auto bias_gradient = [&](const Kernels& k) {
    Guarded<float> db = random_floats(inputs.experts * inputs.map.out_cols(), 5);
    k.bias_bwd(db.view(inputs.experts, inputs.map.out_cols(), inputs.map.out_cols()),
               inputs.args().y, inputs.offsets);
    return db;
  };
  const Guarded<float> db = bias_gradient(ref);
  // The same from +0, whatever the memory holds: chains that go on from zeros.
  const auto overwritten = [&](const Kernels& k, bool zeros_first) {
    std::pair<Linear, Linear> out{inputs, inputs};
    const float start = zeros_first ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    const MatView x = out.first.args().x;
    for (int64_t r = 0; r < x.rows; ++r) std::fill_n(x.row<float>(r), x.cols, start);
    std::fill_n(out.second.w.data(), out.second.w.size(), start);
    GroupedGemm g = out.first.args();
    g.gather_R = nullptr;
    g.accumulate = zeros_first;
    k.grouped_gemm_dx(g);
    g = out.second.args();
    g.accumulate = zeros_first;
    k.grouped_gemm_dw(g);
    return out;
  };
  const auto from_zero = overwritten(ref, true);
  const auto expect_overwritten = [&](const Kernels& k) {
    const auto got = overwritten(k, false);
    expect_same(got.first.x, from_zero.first.x, "dx from zero");
    expect_same(got.second.w, from_zero.second.w, "dw from zero");
  };
  expect_overwritten(ref);

  const auto check = [&](const Kernels& k) {
    Linear got = inputs;
    got.y = random_floats(inputs.y.size(), 3, c.fill);
    k.grouped_gemm(got.args());
    expect_same(got.y, forward.y, "forward");
    expect_same(got.w, inputs.w, "weights after forward");
    got = inputs;
    without_gather.x = got.args().x;
    without_gather.y = got.args().y;
    without_gather.w = got.args().w;
    k.grouped_gemm_dx(without_gather);
    expect_same(got.x, dx.x, "dx");
    got = inputs;
    k.grouped_gemm_dw(got.args());
    expect_same(got.w, dw.w, "dw");
    expect_same(bias_gradient(k), db, "bias gradient");
    expect_overwritten(k);
  };
  if (threads == Threads::one) {
    set_threads(1);
    for_each_table(check);
    set_threads(0);
  } else {
    for_each_table_and_threads(check);
  }
}

TEST(FastTables, ThisMachineHasOneAndItBringsItsOwnLinearMaps) {
  ASSERT_FALSE(cpu_kernels().empty());
  for_each_table([](const Kernels& k) {
    EXPECT_NE(k.grouped_gemm, ref_kernels<float>().grouped_gemm);
    EXPECT_NE(k.combine_fwd, ref_kernels<float>().combine_fwd);
    EXPECT_EQ(k.dtype, DType::f32);
  });
}

TEST(LinearKernels, OddColumnsAndInputsMatchTheReference) {
  for (const int64_t N : {1, 3, 16, 17, 63, 64, 65, 127})
    for (const int64_t K : {1, 3, 16, 17, 63, 64, 65, 127})
      expect_equal_to_reference({.N = N,
                                 .K = K,
                                 .rows_E = {int32_t(5 + (N + K) % 13)},
                                 .bias = N % 2 == 1,
                                 .gap = K % 3});
}

TEST(LinearKernels, OddRowCountsMatchTheReferenceOnAnyThreads) {
  for (const int32_t rows : {0, 1, 2, 3, 5, 17, 63, 64, 65, 127, 200}) {
    expect_equal_to_reference({.N = 127, .K = 65, .rows_E = {rows}, .bias = true, .gap = 5},
                              Threads::several);
    expect_equal_to_reference({.N = 17, .K = 127, .rows_E = {rows}, .gather = true},
                              Threads::several);
  }
}

TEST(LinearKernels, EveryRowCountMatchesTheReference) {
  for (int32_t rows = 1; rows <= 67; ++rows)
    expect_equal_to_reference({.N = 50, .K = 33, .rows_E = {rows}});
}

TEST(LinearKernels, ManyPanelsOfFewRowsMatchTheReference) {
  for (int32_t rows = 1; rows <= 13; ++rows)
    expect_equal_to_reference({.N = 16 * 15 + 9, .K = 18, .rows_E = {rows}, .bias = true});
}

TEST(LinearKernels, GateUpPanelsMatchTheReferenceAndPadsStayOut) {
  for (const int64_t F : {1, 8, 16, 24, 40})
    for (const int32_t rows : {1, 6, 31})
      expect_equal_to_reference(
          {.N = 2 * F, .K = 35, .gate_up = true, .rows_E = {rows, 3}, .bias = rows == 6, .gap = 2});
}

TEST(LinearKernels, EmptyExpertsAndUnevenOnesMatchTheReferenceOnAnyThreads) {
  for (const bool gather : {false, true})
    for (const std::vector<int32_t>& rows_E : {std::vector<int32_t>{9, 0, 40},
                                               {0, 0, 70, 0, 1, 0, 0, 0},
                                               {64, 1, 17, 3, 0, 90, 2, 5},
                                               {0, 0, 0},
                                               {1, 1, 1, 1, 1, 1, 1, 1}})
      for (const bool gate_up : {false, true})
        expect_equal_to_reference({.N = 112,
                                   .K = 65,
                                   .gate_up = gate_up,
                                   .rows_E = rows_E,
                                   .gather = gather,
                                   .bias = true},
                                  Threads::several);
}

TEST(LinearKernels, LongContractionsMatchTheReference) {
  expect_equal_to_reference({.N = 1100, .K = 20, .rows_E = {30, 7}},
                            Threads::several);  // dx: several chunks
  expect_equal_to_reference({.N = 1080, .K = 19, .gate_up = true, .rows_E = {14}},
                            Threads::several);
  expect_equal_to_reference({.N = 20, .K = 1100, .rows_E = {150}},
                            Threads::several);  // forward: several row blocks
  expect_equal_to_reference({.N = 33, .K = 40, .rows_E = {600, 3, 200}},
                            Threads::several);  // dw: several row blocks
}

// Products whose rows share rows of an output: the weighted sum on the way out, the gradient of
// gathered rows, and both gradients from gathered rows of dy.
struct SharedCase {
  int64_t N, K;
  bool gate_up;
  std::vector<int32_t> rows_E;
  int64_t n_tokens;
  bool bias = false;
};

void expect_shared_rows_equal_reference(const SharedCase& c) {
  SCOPED_TRACE(str("N ", c.N, " K ", c.K, " tokens ", c.n_tokens, " rows[0] ", c.rows_E[0]));
  const Linear inputs(
      {.N = c.N, .K = c.K, .gate_up = c.gate_up, .rows_E = c.rows_E, .bias = c.bias});
  std::vector<int32_t> token_R;  // ascending inside an expert, some twice, some left out
  for (const int32_t n : c.rows_E)
    for (int32_t i = 0; i < n; ++i) token_R.push_back(int32_t(i * c.n_tokens / n));
  const int64_t out = inputs.map.out_cols();
  const Guarded<float> weight = random_floats(inputs.rows, 6),
                       y_T = random_floats(c.n_tokens * (out + 3), 7),
                       x_T = random_floats(c.n_tokens * (c.K + 5), 8);
  struct Results {
    Guarded<float> sum, dx, dx_of_gathered, dw;
  };
  const auto run = [&](const Kernels& k) {
    Linear own = inputs;
    Results r{y_T, x_T, own.x, own.w};
    GroupedGemm g = own.args();
    g.scatter_R = token_R.data();
    g.weight_R1 = weight.view(inputs.rows, 1, 1);
    g.y = r.sum.view(c.n_tokens, out, out + 3);
    k.grouped_gemm(g);
    g.x = x_T.view(c.n_tokens, c.K, c.K + 5);
    g.gather_R = token_R.data();
    k.grouped_gemm(g);
    g = own.args();
    g.gather_R = token_R.data();
    g.x = r.dx.view(c.n_tokens, c.K, c.K + 5);
    k.grouped_gemm_dx(g);
    g = own.args();
    g.scatter_R = token_R.data();
    g.y = y_T.view(c.n_tokens, out, out + 3);
    g.x = r.dx_of_gathered.view(inputs.rows, c.K, c.K);
    k.grouped_gemm_dx(g);
    g.x = own.args().x;
    g.w.data = r.dw.data();
    k.grouped_gemm_dw(g);
    return r;
  };
  const Results want = run(ref_kernels<float>());
  for_each_table_and_threads([&](const Kernels& k) {
    const Results got = run(k);
    expect_same(got.sum, want.sum, "weighted sum");
    expect_same(got.dx, want.dx, "dx of shared rows");
    expect_same(got.dx_of_gathered, want.dx_of_gathered, "dx from gathered dy");
    expect_same(got.dw, want.dw, "dw from gathered dy");
  });
}

TEST(LinearKernels, RowsThatShareAnOutputMatchTheReferenceOnAnyThreads) {
  for (const int64_t N : {1, 17, 65, 200})
    expect_shared_rows_equal_reference({N, 33, false, {5, 0, 1, 40}, 9, N == 17});
  for (const int64_t F : {3, 16, 40})
    expect_shared_rows_equal_reference({2 * F, 130, true, {31, 7, 0, 2}, 40});
  expect_shared_rows_equal_reference({70, 150, false, {700, 300, 0, 530}, 600});  // pieces of rows
  expect_shared_rows_equal_reference({1100, 40, false, {260, 20}, 300});  // dx: several chunks
  expect_shared_rows_equal_reference({40, 40, false, {0, 0}, 3});
  expect_shared_rows_equal_reference({300, 64, false, {1, 1}, 1});
}

TEST(LinearKernels, DenormalsInfinitiesNaNsAndSignedZerosMatchTheReference) {
  for (const int64_t N : {1, 17, 48, 65})
    expect_equal_to_reference(
        {.N = N, .K = 7, .rows_E = {29, 2}, .bias = true, .fill = Fill::special});
  expect_equal_to_reference(
      {.N = 48, .K = 7, .gate_up = true, .rows_E = {29, 2}, .bias = true, .fill = Fill::special});
}

TEST(LinearKernels, AChainThatIsCutBetweenCallsEqualsOneCall) {
  const Linear whole({.N = 65, .K = 33, .rows_E = {50}});
  for_each_table([&](const Kernels& k) {
    Linear at_once = whole, in_parts = whole;
    k.grouped_gemm_dw(at_once.args());
    for (const auto& [begin, end] : {std::pair{0, 1}, {1, 18}, {18, 50}}) {
      GroupedGemm g = in_parts.args();
      const int32_t offsets[] = {0, end - begin};
      g.x = g.x.row_range(begin, end);
      g.y = g.y.row_range(begin, end);
      g.offsets_E1 = offsets;
      k.grouped_gemm_dw(g);
    }
    expect_same(in_parts.w, at_once.w, "dw");
  });
}

TEST(EmbeddingKernels, RowsAndGradientsMatchTheReferenceOnAnyThreads) {
  const Kernels& ref = ref_kernels<float>();
  for (const auto& [V, D, T] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 3},
                                {17, 63, 0},
                                {40, 65, 127},
                                {257, 130, 600}}) {
    SCOPED_TRACE(str("V ", V, " D ", D, " T ", T));
    const PanelMap map{V, D, false};
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < T; ++t) ids.push_back(int32_t(t * t % V));
    const Guarded<float> table = random_floats(map.stored_numel(), 1),
                         dy = random_floats(T * (D + 3), 2);
    const auto panels = [&](const Guarded<float>& w) {
      return PanelView{w.data(), DType::f32, 1, map};
    };
    const auto run = [&](const Kernels& k) {
      std::pair<Guarded<float>, Guarded<float>> out{random_floats(T * (D + 3), 3), table};
      k.embedding_fwd(out.first.view(T, D, D + 3), panels(table), ids);
      k.embedding_bwd(panels(out.second), dy.view(T, D, D + 3), ids);
      return out;
    };
    const auto want = run(ref);
    for_each_table_and_threads([&](const Kernels& k) {
      const auto got = run(k);
      expect_same(got.first, want.first, "forward");
      expect_same(got.second, want.second, "gradient");
    });
  }
}

}  // namespace
}  // namespace moe::testing
