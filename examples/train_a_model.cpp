// SPDX-License-Identifier: MIT
// Train a tiny MoE model on the built-in corpus for thirty steps, in memory: no folder, no files.
#include <cstdio>

#include "moe/nn/init.h"
#include "moe/train/trainer.h"

int main() {
  using namespace moe;
  RunConfig config;
  config.model.n_layers = 2;
  config.model.d_model = 32;
  config.model.n_heads = config.model.n_kv_heads = 2;
  config.model.head_dim = 16;
  config.model.max_seq_len = config.data.seq_len = 64;
  config.model.has_moe = true;
  config.model.moe.n_experts = 4;
  config.model.moe.d_ff = 32;
  config.optim.lr = 1e-2;
  config.optim.warmup_steps = 5;
  config.train.steps = 30;
  config.train.batch_size = 4;

  const Dataset data = open_dataset(config.data, 1);
  config.model.vocab_size = data.vocab_size;
  TransformerLM model(config.model);
  initialize(model, 1);
  Trainer trainer(config, data, model);
  double first = 0, last = 0;
  for (int i = 0; i < 30; ++i) {
    const StepResult step = trainer.step();
    if (i == 0) first = step.lm_loss;
    last = step.lm_loss;
    if (i % 10 == 9) std::printf("step %d: loss %.3f\n", int(step.step), step.lm_loss);
  }
  return last < first ? 0 : 1;
}
