// SPDX-License-Identifier: MIT
#include "moe/study/kernel_timer.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>

#include "moe/base/parallel.h"

namespace moe {
namespace {

// Every entry of the table. A kernel that is missing here is not timed; the test counts them.
#define MOE_KERNELS(X)     \
  X(grouped_gemm)          \
  X(grouped_gemm_dx)       \
  X(grouped_gemm_dw)       \
  X(bias_bwd)              \
  X(embedding_fwd)         \
  X(embedding_bwd)         \
  X(rms_norm_fwd)          \
  X(rms_norm_bwd)          \
  X(layer_norm_fwd)        \
  X(layer_norm_bwd)        \
  X(rope_fwd)              \
  X(rope_bwd)              \
  X(kv_store)              \
  X(attention_fwd)         \
  X(attention_bwd)         \
  X(act_fwd)               \
  X(act_bwd)               \
  X(gated_act_fwd)         \
  X(gated_act_bwd)         \
  X(act_bwd_and_fwd)       \
  X(gated_act_bwd_and_fwd) \
  X(softmax_fwd)           \
  X(softmax_bwd)           \
  X(cross_entropy_fwd)     \
  X(cross_entropy_bwd)     \
  X(add)                   \
  X(multiply)              \
  X(scale)                 \
  X(accumulate)            \
  X(multiply_accumulate)   \
  X(scale_accumulate)      \
  X(narrow)                \
  X(widen)                 \
  X(round_to)              \
  X(scale_columns_fwd)     \
  X(scale_columns_bwd)     \
  X(scale_rows_fwd)        \
  X(scale_rows_bwd)        \
  X(gather_rows)           \
  X(scatter_add_rows)      \
  X(combine_fwd)           \
  X(combine_bwd)           \
  X(top_k)                 \
  X(adamw)

const Kernels* timed_table = nullptr;  // the table whose kernels are called

enum Entry {
#define X(kernel) k_##kernel,
  MOE_KERNELS(X)
#undef X
      kEntries
};
const char* const kNames[] = {
#define X(kernel) #kernel,
    MOE_KERNELS(X)
#undef X
};

struct Total {
  double seconds = 0;
  int64_t calls = 0;
};
Total totals[kEntries];

// The twin of one entry: calls the original and adds up the time.
template <Entry entry, auto member, class... Args>
void timed(Args... args) {
  if (inside_parallel_for()) return (timed_table->*member)(args...);  // of somebody else's time
  const auto start = std::chrono::steady_clock::now();
  (timed_table->*member)(args...);
  totals[entry].seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  totals[entry].calls += 1;
}

template <Entry entry, auto member, class... Args>
void install(void (*&slot)(Args...)) {
  if (slot) slot = timed<entry, member, Args...>;
}

Kernels twin;

}  // namespace

KernelTimer::KernelTimer() : original_(kernels(DType::f32)) {
  MOE_CHECK(!timed_table, "[bench] a kernel timer is at work already");
  timed_table = &original_;
  twin = original_;
#define X(kernel) install<k_##kernel, &Kernels::kernel>(twin.kernel);
  MOE_KERNELS(X)
#undef X
  reset();
  use_kernels(twin);
}

KernelTimer::~KernelTimer() {
  use_kernels(original_);
  timed_table = nullptr;
}

int KernelTimer::n_entries() { return kEntries; }

void KernelTimer::reset() { std::fill(std::begin(totals), std::end(totals), Total{}); }

std::vector<KernelTimer::Phase> KernelTimer::phases() const {
  std::vector<Phase> out;
  for (int i = 0; i < kEntries; ++i)
    if (totals[i].calls > 0) out.push_back({kNames[i], totals[i].seconds, totals[i].calls});
  std::sort(out.begin(), out.end(),
            [](const Phase& a, const Phase& b) { return a.seconds > b.seconds; });
  return out;
}

}  // namespace moe
