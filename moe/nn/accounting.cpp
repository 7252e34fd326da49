// SPDX-License-Identifier: MIT
#include "moe/nn/accounting.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "moe/ops/feed_forward.h"
#include "moe/tensor/allocator.h"

namespace moe {
namespace {

// Numbers of a file, and of memory, where 16 output rows make a panel.
struct Size {
  double numbers = 0, stored = 0;

  Size operator+(const Size& b) const { return {numbers + b.numbers, stored + b.stored}; }
  Size operator*(double n) const { return {numbers * n, stored * n}; }
};

Size vector(double n) { return {n, n}; }
Size matrix(double out, double in) { return {out * in, std::ceil(out / 16) * 16 * in}; }
Size linear(double out, double in, bool bias) {
  return matrix(out, in) + (bias ? matrix(out, 1) : Size{});
}

Size router_size(const ModelConfig& c) {
  Size sum;
  for (const auto& [out, in] : router_matrices(c.moe, c.d_model))
    sum = sum + (out == 1 && in == 1 ? vector(1) : matrix(double(out), double(in)));
  return sum;
}

}  // namespace

double expert_picks(const MoeConfig& m) {
  const double E = double(m.n_experts);
  return std::min(double(experts_per_token(m)), E) * E / double(router_outputs(m));
}

ParameterCount count_parameters(const ModelConfig& c) {
  const double D = double(c.d_model), V = double(c.vocab_size), H = double(c.n_heads),
               G = double(c.n_kv_heads), A = double(c.head_dim);
  const bool qkv_bias = c.bias || c.qkv_bias, o_bias = c.bias || c.o_bias;
  const Size norm = vector(D * (c.norm == "layer_norm" && c.bias ? 2 : 1));
  const auto network = [&](const FeedForwardShape& shape) {
    Size sum;
    for (const auto& [out, in] : shape.matrices(c.d_model))
      sum = sum + linear(double(out), double(in), shape.bias);
    return sum;
  };

  const Size tables =
      matrix(V, D) + (c.position == "learned" ? matrix(double(c.max_seq_len), D) : Size{});
  const Size ngrams =
      c.ngram_order > 1 ? vector(double(c.ngram_order - 1) * double(c.ngram_buckets) * D) : Size{};
  Size shared = tables + ngrams + norm;  // outside the blocks
  if (!c.tie_embeddings) shared = shared + matrix(V, D);
  if (c.position == "t5") shared = shared + vector(double(c.relative_buckets) * H);
  Size block = linear((H + 2 * G) * A, D, qkv_bias) + linear(D, H * A, o_bias) + norm * 2;
  if (c.qk_norm == "true") block = block + vector(2 * A);
  if (c.qk_norm == "per_row") block = block + vector((H + G) * A);
  if (c.attention_sink) block = block + vector(H);
  if (c.position == "shaw") block = block + vector(2 * double(2 * c.relative_max_distance + 1) * A);
  if (c.layer_scale > 0) block = block + vector(2 * D);

  const MoeConfig& m = c.moe;
  const double E = double(m.n_experts);
  const Size expert = network(expert_shape(c));
  Size every_token = c.has_moe ? router_size(c) : Size{};
  every_token = every_token + network(shared_expert_shape(c));
  if (m.shared_gate) every_token = every_token + matrix(1, D);

  Size total = shared, active = shared;
  for (const LayerConfig& layer : resolve_layers(c)) {
    const Size dense = block + (layer.moe ? every_token : network(dense_shape(c)));
    total = total + dense + (layer.moe ? expert * E : Size{});
    active = active + dense + (layer.moe ? expert * expert_picks(m) : Size{});
  }
  return {.total = total.numbers,
          .active = active.numbers,
          .embedding = tables.numbers + ngrams.numbers,
          .stored = total.stored};
}

namespace {

// The large buffers of a step by the size that the allocator gives them: a free block serves every
// request of its size, so memory is the sum over sizes of the most blocks that are in use at once.
class Buffers {
 public:
  void add(double rows, double cols, int64_t count = 1, double number_bytes = 4) {
    if (rows * cols > 0)
      blocks_[storage_bytes(int64_t(std::min(rows * cols * number_bytes, 4e18)))] += count;
  }
  void add(const Buffers& b) {
    for (const auto& [size, count] : b.blocks_) blocks_[size] += count;
  }
  void take_maximum(const Buffers& b) {
    for (const auto& [size, count] : b.blocks_) blocks_[size] = std::max(blocks_[size], count);
  }
  double bytes() const {
    double sum = 0;
    for (const auto& [size, count] : blocks_) sum += double(size) * double(count);
    return sum;
  }

 private:
  std::map<int64_t, int64_t> blocks_;
};

struct LayerBuffers {
  Buffers attention, feed_forward, stream;  // kept for backward
  Buffers again;                            // what backward must compute again and then holds
  Buffers forward, backward;                // beside them while the layer runs
  Buffers gradients;                        // of its weights
};

LayerBuffers layer_buffers(const ModelConfig& c, bool moe, double sequences, double seq_len,
                           StepMode mode) {
  const bool narrow = mode.compute_dtype != DType::f32;
  const double number = narrow ? 2 : 4;  // bytes, of what products keep
  const double T = sequences * seq_len, D = double(c.d_model), H = double(c.n_heads),
               G = double(c.n_kv_heads), A = double(c.head_dim), qkv = (H + 2 * G) * A;
  const auto up16 = [](double n) { return std::ceil(n / 16) * 16; };
  const double statistics = c.norm == "layer_norm" ? 2 : 1;
  LayerBuffers b;
  // The stream that enters the block and the one between its halves, each with its norm. A router
  // reads what its experts read, but never rounded.
  Buffers ffn_norm;
  b.stream.add(T, D, 2);
  b.stream.add(T, D, 1, number);
  b.stream.add(T, 1, int64_t(statistics));
  ffn_norm.add(T, D, 1, number);
  ffn_norm.add(T, 1, int64_t(statistics));
  if (narrow && moe) ffn_norm.add(T, D);
  if (c.layer_scale > 0) b.stream.add(T, D), ffn_norm.add(T, D);
  if (c.dropout > 0) b.stream.add(T, D), ffn_norm.add(T, D);  // the masks
  Buffers blocks;
  blocks.add(1, sequences * std::ceil(seq_len / 64) * 64 * G * (A + up16(A)));
  b.attention.add(T, qkv, 1, number);
  if (c.qk_norm != "false") b.attention.add(T, qkv);
  if (!narrow) b.attention.add(blocks);
  b.attention.add(T, H * A, narrow ? 2 : 1, number);  // rounded, o_proj keeps its own copy
  b.attention.add(T, H, 2);
  if (c.qk_norm != "false") b.attention.add(T, c.qk_norm == "per_row" ? 2 : H + G);
  if (narrow) {
    Buffers wide = blocks;  // made for the call
    wide.add(T, qkv, 2);
    wide.add(T, H * A);
    b.forward.add(wide);
    b.backward.take_maximum(wide);
  }
  b.forward.add(T, D);
  b.backward.add(T, D, 2);
  b.gradients.add(up16(qkv), D);
  b.gradients.add(up16(D), H * A);
  // Experts whose rows are summed on their way out never hold a row of their output.
  const FeedForwardShape expert = expert_shape(c);
  const bool sums_rows = !expert.bias && !expert.is_linear() &&
                         router_outputs(c.moe) == c.moe.n_experts &&
                         !c.moe.normalize_expert_outputs;
  const auto network = [&](double rows, const FeedForwardShape& shape, double E) {
    if (shape.is_linear()) {
      b.feed_forward.add(rows, D);
      b.gradients.add(E * up16(D), D);
      return;
    }
    const double F = double(shape.d_ff), wide = shape.is_gated() ? 2 : 1;
    const double hidden = double(ops::padded_columns(int64_t(F)));
    const double up = double(ops::padded_columns(int64_t(up16(F) * wide)));
    b.feed_forward.add(rows, up, 1, number);
    b.forward.add(rows, hidden);
    b.backward.add(rows, hidden);
    if (narrow) {  // one rounded weight at a time, the rows in full, the gradients rounded
      Buffers full;
      full.add(rows, up);
      full.add(T, D, 2);
      full.add(E * up16(F) * wide, D);
      b.forward.take_maximum(full);
      b.backward.add(full);
    }
    b.gradients.add(E * up16(F) * wide, D);
    b.gradients.add(E * up16(D), F);
  };
  // At the end: what recomputation leaves out.
  const auto kept = [&] {
    if (mode.recompute == Recompute::none) {
      b.stream.add(ffn_norm);
      return b;
    }
    b.again = ffn_norm;
    b.again.add(b.feed_forward);
    b.feed_forward = {};
    if (mode.recompute == Recompute::block) {
      b.again.add(b.attention);
      b.again.add(b.stream);
      b.attention = b.stream = {};
      b.stream.add(T, D);
    }
    b.backward.take_maximum(b.forward);
    return b;
  };
  if (!moe) {
    network(T, dense_shape(c), 1);
    b.forward.add(T, D);
    return kept();
  }
  const MoeConfig& m = c.moe;
  const double R = T * double(std::min(experts_per_token(m), m.n_experts)), E = double(m.n_experts);
  network(T * expert_picks(m), expert, E);
  b.forward.add(T, D);
  if (!sums_rows) {
    b.feed_forward.add(R, D);  // what combine weighs
    b.backward.add(R, D, 2);
  }
  b.feed_forward.add(T, E, 2);   // logits and probabilities
  b.feed_forward.add(R, 1, 10);  // the plan of the rows and their weights
  b.backward.add(T, E, 2);
  for (const auto& [out, in] : router_matrices(m, c.d_model))
    b.gradients.add(up16(double(out)), double(in));
  if (m.n_shared_experts > 0) network(T, shared_expert_shape(c), 1);
  if (m.shared_gate) b.feed_forward.add(T, D);
  return kept();
}

}  // namespace

std::vector<MemoryPart> training_memory(const ModelConfig& c, int64_t sequences, int64_t seq_len,
                                        int optimizer_slots, StepMode mode) {
  const double T = double(sequences) * double(seq_len), D = double(c.d_model),
               V = double(c.vocab_size), V16 = std::ceil(V / 16) * 16,
               parameters = count_parameters(c).stored * 4;
  std::vector<LayerBuffers> layers;
  for (const LayerConfig& layer : resolve_layers(c))
    layers.push_back(layer_buffers(c, layer.moe, double(sequences), double(seq_len), mode));
  Buffers head, gradients;
  head.add(T, D, 2);  // the last stream and its norm
  head.add(T, V);
  gradients.add(V16, D, 2);  // embedding and head, tied or not: one for each use
  if (c.ngram_order > 1) gradients.add(double(c.ngram_order - 1) * double(c.ngram_buckets), D);
  if (c.position == "learned") gradients.add(std::ceil(double(c.max_seq_len) / 16) * 16, D);

  // Most blocks of each size in use at once: forward layer by layer, then backward, where a
  // layer's gradients appear while what it had kept goes.
  Buffers most, kept, attention, feed_forward, stream;
  for (const LayerBuffers& b : layers) {
    Buffers now = kept;
    for (const Buffers* part : {&b.attention, &b.feed_forward, &b.stream}) {
      now.add(*part);
      kept.add(*part);
    }
    now.add(b.again);
    now.add(b.forward);
    most.take_maximum(now);
    attention.add(b.attention);
    feed_forward.add(b.feed_forward);
    stream.add(b.stream);
  }
  Buffers at_head = kept;
  at_head.add(head);
  at_head.add(T, V);  // the gradient of the logits
  most.take_maximum(at_head);
  double widest = 0;
  for (size_t done = 0; done < layers.size(); ++done) {  // layers whose backward is over
    const LayerBuffers& b = layers[layers.size() - 1 - done];
    gradients.add(b.gradients);
    Buffers now = gradients;
    for (size_t l = 0; l + done < layers.size(); ++l)
      for (const Buffers* part : {&layers[l].attention, &layers[l].feed_forward, &layers[l].stream})
        now.add(*part);
    Buffers own = b.backward;
    own.add(b.again);
    now.add(own);
    most.take_maximum(now);
    widest = std::max(widest, own.bytes());
  }
  constexpr double kProgram = 24e6;  // code, libraries and the small change of a step
  const double separate = gradients.bytes() + attention.bytes() + feed_forward.bytes() +
                          stream.bytes() + head.bytes() + widest;
  return {{"weights", parameters},
          {"optimizer state", parameters * optimizer_slots},
          {"gradients", gradients.bytes()},
          {"attention, kept for backward", attention.bytes()},
          {"feed-forward, kept for backward", feed_forward.bytes()},
          {"stream and norms, kept for backward", stream.bytes()},
          {"head and loss", head.bytes()},
          {"backward's own", widest},
          {"of these, memory that serves twice", most.bytes() - separate},
          {"program", kProgram}};
}

double total_bytes(const std::vector<MemoryPart>& parts) {
  double sum = 0;
  for (const MemoryPart& part : parts) sum += part.bytes;
  return sum;
}

}  // namespace moe
