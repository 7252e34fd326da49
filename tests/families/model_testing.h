// SPDX-License-Identifier: MIT
// Small random models for tests, written and read as folders.
#pragma once

#include "moe/families/model_folder.h"
#include "moe/nn/init.h"

#include "tests/families/scratch_folder.h"

namespace moe {

/// Two layers of our default Mixture of Experts, small.
inline ModelConfig small_moe() {
  ModelConfig c;
  c.n_layers = 2;
  c.d_model = 24;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.head_dim = 8;
  c.d_ff = 20;
  c.max_seq_len = 32;
  c.vocab_size = 50;
  c.has_moe = true;
  c.moe.n_experts = 5;
  c.moe.d_ff = 12;
  return c;
}
inline ModelConfig small_dense() {
  ModelConfig c = small_moe();
  c.has_moe = false;
  c.moe = {};
  return c;
}

inline void write_folder(const ScratchFolder& folder, const TransformerLM& model,
                         uint64_t max_shard_bytes = uint64_t{1} << 30) {
  const AddFile add_file = [&](const std::string& name, const ByteProducer& content) {
    std::string bytes;
    content([&](std::span<const std::byte> part) {
      bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
    });
    folder.put(name, bytes);
  };
  write_model_files(add_file, model, nullptr, {}, {}, max_shard_bytes);
}

/// Random weights of every kind, norms and biases too, so that a swapped or lost tensor shows.
inline void fill_random(const TransformerLM& model) {
  const RngStream noise = Rng{5, 0}.stream("weights");
  int64_t i = 0;
  for (const Parameter& p : model.parameters())
    for (const Piece& piece : p.pieces) {
      const Tensor values = Tensor::empty(piece_shape(p, piece), p.var.dtype());
      ++i;
      for (int64_t j = 0; j < values.numel(); ++j) {
        const double x = (p.role == Role::norm ? 1 : 0) + 0.2 * noise.normal(j, i);
        if (values.dtype() == DType::f64)
          values.data<double>()[size_t(j)] = x;
        else
          values.data<float>()[size_t(j)] = float(x);
      }
      write_piece(p.var.value(), piece, values);
    }
  for (const Buffer& b : model.buffers())
    for (int64_t j = 0; j < b.value.numel(); ++j)
      b.value.data<float>()[size_t(j)] = float(0.1 * noise.normal(j, ++i));
}

inline Tensor logits_of(const TransformerLM& model, const std::vector<int32_t>& ids) {
  return model.logits(model(pack_sequences({ids})).hidden_TD).value();
}

}  // namespace moe
