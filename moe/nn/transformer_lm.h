// SPDX-License-Identifier: MIT
// The language model: embedding, blocks, final norm, head. The same forward serves training,
// evaluation and generation.
#pragma once

#include <vector>

#include "moe/nn/ngram_embedding.h"
#include "moe/nn/transformer_block.h"

namespace moe {

/// What one MoE layer reported.
struct LayerReport {
  int layer = 0;
  RouterStats stats;
  Picks picks;
  Var router_logits_TE;
};

struct LmOutput {
  Var hidden_TD;                        // after the final norm
  Var aux_loss;                         // float64 scalar, summed over layers
  std::vector<LayerReport> moe_layers;  // ascending
  std::vector<Tensor> residual_TD;      // the stream entering each block, if asked for
};

/// The routes of a forward pass, for ForwardContext::replay: recomputation, and reinforcement
/// learning, where training must route as the rollout did. Weights are computed anew.
RouterReplay recorded_routes(const LmOutput& output);

class TransformerLM {
 public:
  /// All parameters zero; see nn/init.h. config.vocab_size must be set. Throws Error for a config
  /// that cannot be built.
  explicit TransformerLM(const ModelConfig& config, DType dtype = DType::f32);

  /// Throws Error for ids outside the vocabulary, and for sequences longer than max_seq_len.
  LmOutput operator()(const ForwardContext& ctx, bool keep_residuals = false) const;
  /// [T, V] for any rows of hidden states. compute_dtype: of the product's operands; the logits
  /// themselves are not rounded.
  Var logits(const Var& hidden_TD, DType compute_dtype = DType::f32) const;

  /// Parameters in forward order; a tied head is not a parameter of its own.
  void visit(const Visitor& v) const;
  std::vector<Parameter> parameters() const;
  std::vector<Buffer> buffers() const;
  /// Bias updates of the routers; totals[i] belongs to the i-th MoE layer.
  void after_step(const std::vector<RouterTotals>& totals);

  const ModelConfig& config() const { return config_; }
  DType dtype() const { return dtype_; }
  const std::vector<LayerConfig>& layers() const { return layers_; }
  /// Low-rank adapters (moe/nn/lora.h): what they can be put on, how many there are, and the one in
  /// use, -1 for none.
  std::vector<LoraSite> lora_sites() const;
  std::vector<MixtureSite> mixture_sites() const;
  int n_adapters() const { return n_adapters_; }
  void set_adapters(int n);
  int adapter() const { return adapter_; }
  void use_adapter(int adapter);

  /// False when a route may depend on later tokens.
  bool causal(bool training) const;

 private:
  ForwardContext with_adapter(ForwardContext ctx) const;

  ModelConfig config_;
  DType dtype_;
  int n_adapters_ = 0, adapter_ = -1;
  std::shared_ptr<LoraParts> embedding_lora_ = std::make_shared<LoraParts>(),
                             head_lora_ = std::make_shared<LoraParts>();
  std::vector<LayerConfig> layers_;
  Var embedding_VD_, head_VD_;  // tied: two uses of one table
  NgramEmbedding ngrams_;
  Var position_PD_;  // learned
  PositionTable sinusoids_PD_;
  SharedPositions shared_;
  std::vector<TransformerBlock> blocks_;
  Norm final_norm_;
};

}  // namespace moe
