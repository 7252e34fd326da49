// SPDX-License-Identifier: MIT
// How close does attention come to what this machine can do? Forward (with the storing of keys and
// values) and backward as a share of the multiply-add peak, decode as a share of a plain read of
// the same cache, each beside its own samples of the ceiling. A causal half counts as half.
//   build/bench_attention [threads]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "moe/base/parallel.h"
#include "moe/kernels/cpu/ceilings.h"
#include "moe/kernels/kernels.h"

namespace moe {
namespace {

/// Each timed run stands between two samples of its ceiling; medians of speed and of the ratios.
void measure(const char* what, const char* unit, double work,
             const std::function<double()>& ceiling, const std::function<void()>& f) {
  f();
  const double once = seconds_of(f);
  const int repeats = std::max(1, int(1e-3 / once)),
            samples = std::clamp(int(0.5 / (once * repeats)), 5, 60);
  std::vector<double> speed, share;
  for (int i = 0; i < samples; ++i) {
    const double before = ceiling();
    const double s = work * repeats / seconds_of([&] {
                       for (int j = 0; j < repeats; ++j) f();
                     });
    speed.push_back(s);
    share.push_back(2 * s / (before + ceiling()));
  }
  std::printf("  %-8s %6.1f %s %3.0f %%", what, median(speed) * 1e-9, unit, 100 * median(share));
}

std::vector<float> numbers(int64_t n) {
  std::vector<float> x(static_cast<size_t>(n));
  uint32_t state = 1;
  for (float& y : x) y = float(int32_t(state = state * 1664525u + 1013904223u)) * 0x1p-31f;
  return x;
}

/// The blocks of one sequence, one after the other.
struct Cache {
  std::vector<float> memory;
  std::vector<void*> k, v;
  int64_t head;
  Cache(int64_t heads, int64_t A, int64_t n) : head(A * kKvBlock) {
    const int64_t blocks = (n + kKvBlock - 1) / kKvBlock;
    memory = numbers(2 * blocks * heads * head);
    for (int64_t b = 0; b < blocks; ++b) {
      k.push_back(memory.data() + 2 * b * heads * head);
      v.push_back(memory.data() + (2 * b + 1) * heads * head);
    }
  }
  KvBlocks blocks() const { return {k.data(), v.data(), head, head}; }
};

void run(const Kernels& kernels, int64_t H, int64_t G, int64_t A, int64_t S) {
  const Ceilings ceilings(kernels.name);
  const auto view = [](std::vector<float>& x, int64_t rows, int64_t cols) {
    return MatView{x.data(), DType::f32, rows, cols, cols};
  };
  AttentionConfig c;
  c.H = H, c.G = G, c.A = c.Av = A, c.scale = 0.125;
  const int64_t row = (H + 2 * G) * A;
  std::vector<float> qkv = numbers(S * row), dqkv = numbers(S * row), o = numbers(S * H * A),
                     dout = o;
  std::vector<float> state[4];
  for (auto& x : state) x = numbers(S * H);
  const MatView in = view(qkv, S, row), din = view(dqkv, S, row);
  const Cache cache(G, A, S);
  const AttentionSequence s{0, S, 0, cache.blocks()};
  const KvStore store{in.columns(H * A, G * A), in.columns((H + G) * A, G * A), {&s, 1}, G, A, A};
  const AttentionForward f{view(o, S, H * A),
                           view(state[0], S, H),
                           view(state[1], S, H),
                           in.columns(0, H * A),
                           {&s, 1},
                           c};
  AttentionBackward b;
  b.dq = din.columns(0, H * A), b.dk = din.columns(H * A, G * A),
  b.dv = din.columns((H + G) * A, G * A);
  b.do_ = view(dout, S, H * A), b.o = f.o, b.max_TH = f.max_TH, b.sum_TH = f.sum_TH, b.q = f.q;
  b.delta_TH = view(state[2], S, H), b.rsum_TH = view(state[3], S, H), b.sequences = f.sequences,
  b.config = c;
  const double flop = 4.0 * double(A * H) * double(S) * double(S + 1) / 2;
  const auto peak = [&] { return ceilings.multiply_add_sample(); };
  std::printf("%-10s H %lld G %lld A %lld S %5lld", kernels.name, static_cast<long long>(H),
              static_cast<long long>(G), static_cast<long long>(A), static_cast<long long>(S));
  measure("forward", "GFLOP/s", flop, peak, [&] {
    kernels.kv_store(store);
    kernels.attention_fwd(f);
  });
  measure("backward", "GFLOP/s", 2.5 * flop, peak, [&] { kernels.attention_bwd(b); });

  // Decode: one token of each of eight sequences of S tokens; together they do not fit a cache.
  std::vector<Cache> caches;
  std::vector<AttentionSequence> sequences;
  for (int i = 0; i < 8; ++i)
    caches.emplace_back(G, A, S), sequences.push_back({i, 1, S - 1, caches.back().blocks()});
  AttentionForward decode = f;
  decode.sequences = sequences;
  const double bytes = 8.0 * double(S) * double(G * A) * 2 * 4;
  const auto read = [&] {
    return bytes / seconds_of([&] {
             parallel_for(8, 1, [&](int64_t begin, int64_t end) {
               for (int64_t i = begin; i < end; ++i)
                 ceilings.read(caches[size_t(i)].memory.data(),
                               int64_t(caches[size_t(i)].memory.size()));
             });
           });
  };
  measure("decode", "GB/s", bytes, read, [&] { kernels.attention_fwd(decode); });
  std::printf("\n");
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) {
  if (argc > 1) moe::set_threads(std::atoi(argv[1]));
  std::printf("%d threads; shares: of multiply-add peak, of a plain read\n", moe::n_threads());
  for (const moe::Kernels* table : moe::cpu_kernels()) {
    for (const int64_t S : {256, 1024, 4096}) moe::run(*table, 6, 6, 64, S);
    moe::run(*table, 32, 4, 128, 1024);
  }
}
