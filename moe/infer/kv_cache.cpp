// SPDX-License-Identifier: MIT
#include "moe/infer/kv_cache.h"

namespace moe {

KvCache::KvCache(const ModelConfig& c, DType dtype)
    : n_layers_(c.n_layers),
      k_head_(c.head_dim * kKvBlock),
      v_head_(kv_value_width(c.head_dim) * kKvBlock),
      layer_elements_(c.n_kv_heads * (k_head_ + v_head_)),
      n_kv_heads_(c.n_kv_heads),
      dtype_(dtype) {}

int KvCache::add_sequence() {
  if (free_.empty()) {
    sequences_.emplace_back();
    free_.push_back(int(sequences_.size()) - 1);
  }
  const int s = free_.back();
  free_.pop_back();
  sequences_[size_t(s)] = {};
  sequences_[size_t(s)].k.resize(size_t(n_layers_));
  sequences_[size_t(s)].v.resize(size_t(n_layers_));
  return s;
}

void KvCache::release(int sequence) {
  sequences_[size_t(sequence)] = {};
  free_.push_back(sequence);
}

void KvCache::extend(int sequence, int64_t n) {
  Sequence& s = sequences_[size_t(sequence)];
  s.length += n;
  while (int64_t(s.blocks.size()) * kKvBlock < s.length) {
    s.blocks.push_back(Tensor::empty({n_layers_ * layer_elements_}, dtype_));
    std::byte* base = s.blocks.back().raw();
    for (int64_t layer = 0; layer < n_layers_; ++layer) {
      std::byte* k = base + layer * layer_elements_ * dtype_bytes(dtype_);
      s.k[size_t(layer)].push_back(k);
      s.v[size_t(layer)].push_back(k + n_kv_heads_ * k_head_ * dtype_bytes(dtype_));
    }
  }
}

KvView KvCache::view(const std::vector<int>& sequences) const {
  KvView out;
  out.of_layer.resize(size_t(n_layers_));
  for (int64_t layer = 0; layer < n_layers_; ++layer)
    for (const int i : sequences) {
      const Sequence& s = sequences_[size_t(i)];
      out.of_layer[size_t(layer)].push_back(
          {s.k[size_t(layer)].data(), s.v[size_t(layer)].data(), k_head_, v_head_});
    }
  return out;
}

}  // namespace moe
