// SPDX-License-Identifier: MIT
#include "moe/study/shapes.h"

#include <algorithm>

#include "moe/base/error.h"
#include "moe/base/str.h"
#include "moe/nn/accounting.h"

namespace moe {
namespace {

const std::vector<std::string> kCommon = {
    "model.n_layers=6",          "model.d_model=384",      "model.n_heads=6",
    "model.n_kv_heads=6",        "model.head_dim=64",      "model.max_seq_len=1024",
    "model.vocab_size=65",       "model.norm_eps=1e-5",    "model.qk_norm=false",
    "model.tie_embeddings=true", "data.seq_len=256",       "optim.name=adamw",
    "optim.grad_clip=1",         "optim.weight_decay=0.1", "optim.ema=0",
};
const std::vector<std::string> kMoe = {
    "model.moe.layers=all", "model.moe.router=top_k", "model.moe.norm_topk_prob=true",
    "model.moe.aux_loss_weight=0.01", "model.moe.z_loss_weight=0"};

}  // namespace

RunConfig shape_config(const std::string& shape, const std::vector<std::string>& overrides) {
  ConfigSource source;
  auto add = [&](const std::vector<std::string>& keys) {
    source.overrides.insert(source.overrides.end(), keys.begin(), keys.end());
  };
  if (shape == "mixtral" || shape == "fine") {
    add(kCommon);
    add(kMoe);
    if (shape == "mixtral")
      add({"model.moe.n_experts=8", "model.moe.top_k=2", "model.moe.d_ff=1024"});
    else
      add({"model.moe.n_experts=32", "model.moe.top_k=4", "model.moe.d_ff=256",
           "model.moe.n_shared_experts=1"});
  } else if (shape == "nanogpt") {
    add(kCommon);
    add({"model.norm=layer_norm", "model.position=learned", "model.activation=gelu",
         "model.d_ff=1536", "model.max_seq_len=256"});
  } else if (shape.ends_with(".yaml") || shape.ends_with(".yml")) {
    source.file = shape;
  } else {
    const std::vector<std::string> names = {"mixtral", "fine", "nanogpt"};
    const std::string near = nearest_word(shape, names);
    throw Error(str("[bench] --shape ", printable(shape, 40),
                    " is neither a shape (mixtral, fine, nanogpt) nor a .yaml file",
                    near.empty() ? "" : str("; did you mean ", near, "?")),
                ExitCode::usage);
  }
  add(overrides);
  RunConfig config = read_run_config(source);
  if (shape == "nanogpt") config.model.has_moe = false;
  if (config.model.vocab_size == 0) config.model.vocab_size = 256;
  return config;
}

double active_matrix_parameters(const ModelConfig& c) {
  const double D = double(c.d_model), A = double(c.head_dim);
  double sum = D * double(c.vocab_size);  // the head; a token's own embedding row is no product
  const auto network = [&](const FeedForwardShape& shape) {
    double n = 0;
    for (const auto& [out, in] : shape.matrices(c.d_model)) n += double(out * in);
    return n;
  };
  for (const LayerConfig& layer : resolve_layers(c)) {
    sum += D * A * double(2 * c.n_heads + 2 * c.n_kv_heads);
    if (!layer.moe) {
      sum += network(dense_shape(c));
      continue;
    }
    const MoeConfig& m = c.moe;
    for (const auto& [out, in] : router_matrices(m, c.d_model)) sum += double(out * in);
    sum += (m.shared_gate ? D : 0) + network(shared_expert_shape(c)) +
           expert_picks(m) * network(expert_shape(c));
  }
  return sum;
}

double train_flop_per_token(const ModelConfig& c, int64_t seq_len) {
  double attention = 0;
  for (const LayerConfig& layer : resolve_layers(c)) {
    const double seen =
        layer.window > 0 ? double(std::min(seq_len, 2 * layer.window)) : double(seq_len);
    attention += 6 * double(c.n_heads * c.head_dim) * seen;
  }
  return 6 * active_matrix_parameters(c) + attention;
}

}  // namespace moe
