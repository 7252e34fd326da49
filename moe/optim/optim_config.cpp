// SPDX-License-Identifier: MIT
#include "moe/optim/optim_config.h"

namespace moe {

bool uses_nesterov(const OptimConfig& c) {
  return c.nesterov == "auto" ? c.name == "muon" : c.nesterov == "true";
}

void add_optim_keys(ConfigTable& t, OptimConfig& c) {
  t.choice("optim.name", c.name, {"adamw", "sgd", "muon"},
           "muon: matrices by Muon, the rest by AdamW");
  t.number("optim.lr", c.lr, 0, 1e9, "largest learning rate");
  t.numbers("optim.betas", c.betas, 2, 0, 0.9999999, "AdamW: decay of the first and second moment");
  t.number("optim.eps", c.eps, 0, 1, "AdamW: added to the root of the second moment");
  t.number("optim.momentum", c.momentum, 0, 0.9999999, "sgd, muon: momentum");
  t.integer("optim.muon_steps", c.muon_steps, 1, 20, "muon: Newton-Schulz iterations of a step");
  t.choice("optim.nesterov", c.nesterov, {"auto", "true", "false"},
           "sgd, muon: Nesterov's form of momentum; auto: on for muon, off for sgd");
  t.number("optim.weight_decay", c.weight_decay, 0, 1e6,
           "weight decay of matrices, embeddings and the head: decoupled in adamw and muon, in sgd "
           "weight_decay * w is added to the gradient");
  t.number("optim.l1", c.l1, 0, 1e6,
           "l1 * sign(w) is added to the gradients of what weight_decay acts on");
  t.number("optim.grad_clip", c.grad_clip, 0, 1e9, "largest global gradient norm; 0: no clipping");
  t.choice("optim.schedule", c.schedule, {"constant", "linear", "cosine", "wsd"},
           "learning rate after the warm-up; wsd: constant, then down");
  t.integer("optim.warmup_steps", c.warmup_steps, 0, int64_t{1} << 40,
            "steps over which the learning rate rises linearly");
  t.integer("optim.decay_steps", c.decay_steps, 0, int64_t{1} << 40,
            "linear, cosine: the step at which min_lr is reached (0: train.steps); wsd: length of "
            "the final decay (0: a fifth of train.steps)");
  t.number("optim.min_lr", c.min_lr, 0, 1e9, "learning rate at the end of the decay");
  t.number("optim.ema", c.ema, 0, 0.9999999,
           "decay of an exponential moving average of the weights, which is then evaluated and "
           "saved; 0: none");
}

}  // namespace moe
