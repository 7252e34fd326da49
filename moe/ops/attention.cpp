// SPDX-License-Identifier: MIT
#include "moe/ops/attention.h"

namespace moe::ops {
namespace {

// Temporary key and value blocks of the sequences of one call, in one allocation.
struct Blocks {
  Tensor storage;
  std::vector<std::vector<void*>> k, v;  // per span, per block

  Blocks(const AttentionArgs& a, DType dtype) : k(a.spans.size()), v(a.spans.size()) {
    const int64_t key = a.G * a.A * kKvBlock, value = a.G * kv_value_width(a.Av) * kKvBlock;
    int64_t blocks = 0;
    for (const AttentionSpan& s : a.spans) blocks += (s.n + kKvBlock - 1) / kKvBlock;
    storage = Tensor::empty({blocks * (key + value)}, dtype);
    std::byte* at = storage.raw();
    for (size_t i = 0; i < a.spans.size(); ++i)
      for (int64_t b = 0; b < (a.spans[i].n + kKvBlock - 1) / kKvBlock; ++b) {
        k[i].push_back(at);
        v[i].push_back(at + key * dtype_bytes(dtype));
        at += (key + value) * dtype_bytes(dtype);
      }
  }
};

AttentionConfig kernel_config(const AttentionArgs& a) {
  auto view = [](const Var& v) { return v ? v.view() : MatView{}; };
  return {.H = a.H,
          .G = a.G,
          .A = a.A,
          .Av = a.Av,
          .scale = a.scale,
          .window = a.window,
          .softcap = a.softcap,
          .sink_H = view(a.sink_H),
          .alibi_slopes_H = a.alibi_slopes_H ? a.alibi_slopes_H.view() : MatView{},
          .t5_table_UH = view(a.t5_table_UH),
          .t5_bucket_of_distance = a.t5_bucket_of_distance ? a.t5_bucket_of_distance.data<int32_t>()
                                                           : std::span<int32_t>(),
          .shaw_k_CA = view(a.shaw_k_CA),
          .shaw_v_CA = view(a.shaw_v_CA)};
}

std::vector<AttentionSequence> kernel_sequences(const AttentionArgs& a, const Blocks* blocks) {
  std::vector<AttentionSequence> out;
  for (size_t i = 0; i < a.spans.size(); ++i) {
    const AttentionSpan& s = a.spans[i];
    KvBlocks kv = s.kv;
    if (blocks)
      kv = {blocks->k[i].data(), blocks->v[i].data(), a.A * kKvBlock,
            kv_value_width(a.Av) * kKvBlock};
    out.push_back({s.row, s.n, s.position, kv});
  }
  return out;
}

void store(const Kernels& k, const AttentionArgs& a, const MatView& qkv,
           std::span<const AttentionSequence> sequences) {
  k.kv_store({.k = qkv.columns(a.H * a.A, a.G * a.A),
              .v = qkv.columns((a.H + a.G) * a.A, a.G * a.Av),
              .sequences = sequences,
              .G = a.G,
              .A = a.A,
              .Av = a.Av});
}

// What forward leaves: the result and the softmax state of each row and head.
struct Results {
  Tensor o, max_TH, sum_TH;
  Results(const AttentionArgs& a, int64_t T, DType dtype)
      : o(Tensor::empty({T, a.H * a.Av}, dtype)),
        max_TH(Tensor::empty({T, a.H}, dtype)),
        sum_TH(Tensor::empty({T, a.H}, dtype)) {}
};

void forward(const Kernels& k, const AttentionArgs& a, const Results& r, const MatView& qkv,
             std::span<const AttentionSequence> sequences) {
  k.attention_fwd({.o = r.o.view(),
                   .max_TH = r.max_TH.view(),
                   .sum_TH = r.sum_TH.view(),
                   .q = qkv.columns(0, a.H * a.A),
                   .sequences = sequences,
                   .config = kernel_config(a)});
}

void backward(const Kernels& k, const AttentionArgs& a, const MatView& dqkv, const Tensor& d_o,
              const Results& r, const MatView& qkv, std::span<const AttentionSequence> sequences) {
  const DType dtype = d_o.dtype();
  const Tensor delta_TH = Tensor::empty({qkv.rows, a.H}, dtype),
               rsum_TH = Tensor::empty({qkv.rows, a.H}, dtype);
  auto grad = [](const Var& v) { return v ? v.grad().view() : MatView{}; };
  k.attention_bwd({.dq = dqkv.columns(0, a.H * a.A),
                   .dk = dqkv.columns(a.H * a.A, a.G * a.A),
                   .dv = dqkv.columns((a.H + a.G) * a.A, a.G * a.Av),
                   .dsink_H = grad(a.sink_H),
                   .dt5_table_UH = grad(a.t5_table_UH),
                   .dshaw_k_CA = grad(a.shaw_k_CA),
                   .dshaw_v_CA = grad(a.shaw_v_CA),
                   .do_ = d_o.view(),
                   .o = r.o.view(),
                   .max_TH = r.max_TH.view(),
                   .sum_TH = r.sum_TH.view(),
                   .q = qkv.columns(0, a.H * a.A),
                   .delta_TH = delta_TH.view(),
                   .rsum_TH = rsum_TH.view(),
                   .sequences = sequences,
                   .config = kernel_config(a)});
}

std::vector<Var> inputs_of(const Var& qkv, const AttentionArgs& a) {
  return {qkv, a.sink_H, a.t5_table_UH, a.shaw_k_CA, a.shaw_v_CA};
}

// Keeps q, k, v and the result in two bytes a number, and no blocks: they are made again.
Var narrow_attention(const Var& qkv, const AttentionArgs& args) {
  const DType type = args.precision.type;
  const Narrow qkv16(qkv.value(), type);
  Results r(args, qkv.size(0), DType::f32);
  {
    const Kernels& k = kernels(DType::f32);
    const Tensor wide = qkv16.wide();
    const Blocks blocks(args, DType::f32);
    const std::vector<AttentionSequence> sequences = kernel_sequences(args, &blocks);
    store(k, args, wide.view(), sequences);
    forward(k, args, r, wide.view(), sequences);
  }
  round_numbers(r.o.view(), type);
  const Tensor o = r.o;
  r.o = {};
  return record("attention", o, inputs_of(qkv, args),
                [=, o16 = Narrow(o, type), dqkv = qkv.grad_place()](const Tensor& d_o) {
                  const Kernels& k = kernels(DType::f32);
                  Results again = r;
                  again.o = o16.wide();
                  const Tensor wide = qkv16.wide();
                  const Blocks blocks(args, DType::f32);
                  const std::vector<AttentionSequence> sequences = kernel_sequences(args, &blocks);
                  store(k, args, wide.view(), sequences);
                  backward(k, args, dqkv->grad().view(), rounded(d_o, type), again, wide.view(),
                           sequences);
                });
}

}  // namespace

Var attention(const Var& qkv, AttentionArgs args) {
  MOE_CHECK(args.G >= 1 && args.H % args.G == 0, "[attention] ", args.H,
            " query heads are no multiple of ", args.G, " key/value heads");
  MOE_CHECK(qkv.size(1) == (args.H + args.G) * args.A + args.G * args.Av, "[attention] rows of ",
            qkv.size(1), " do not hold ", args.H, " + ", args.G, " heads of ", args.A, " and ",
            args.G, " of ", args.Av);
  bool cached = false;
  for (const AttentionSpan& s : args.spans) {
    cached = cached || s.kv.k;
    MOE_CHECK(s.row >= 0 && s.n >= 0 && s.row + s.n <= qkv.size(0) && (s.kv.k || s.position == 0),
              "[attention] span of rows [", s.row, ", ", s.row + s.n, ") at position ", s.position,
              " does not fit ", qkv.size(0), " rows");
  }
  if (args.precision.is_narrow() && !cached) return narrow_attention(qkv, args);
  const DType dtype = qkv.dtype();
  const Kernels& k = kernels(dtype);
  const Results results(args, qkv.size(0), dtype);
  auto blocks = cached ? nullptr : std::make_shared<Blocks>(args, dtype);
  const std::vector<AttentionSequence> sequences = kernel_sequences(args, blocks.get());
  store(k, args, qkv.view(), sequences);
  forward(k, args, results, qkv.view(), sequences);
  if (cached) {
    MOE_CHECK(!Tape::current() || !wants_grad(qkv),
              "[attention] a cache has no gradient; use whole sequences while training");
    return Var(results.o);
  }
  return record("attention", results.o, inputs_of(qkv, args), [=](const Tensor& d_o) {
    backward(kernels(dtype), args, qkv.grad().view(), d_o, results, qkv.view(),
             kernel_sequences(args, blocks.get()));
  });
}

}  // namespace moe::ops
