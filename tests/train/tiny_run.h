// SPDX-License-Identifier: MIT
// A trainer of a tiny model on windows made by a formula, without files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "moe/nn/init.h"
#include "moe/train/trainer.h"

#include "tests/train/square_windows.h"

namespace moe {

struct TinyRun {
  RunConfig config;
  Dataset data;
  std::unique_ptr<TransformerLM> model;
  std::unique_ptr<Trainer> trainer;

  explicit TinyRun(const std::vector<std::string>& changes) {
    std::vector<std::string> all = {
        "model.n_layers=2",     "model.d_model=24",      "model.n_heads=2",
        "model.n_kv_heads=2",   "model.head_dim=12",     "model.max_seq_len=32",
        "model.d_ff=32",        "model.moe.n_experts=4", "model.moe.d_ff=16",
        "data.seq_len=32",      "train.batch_size=4",    "optim.lr=0.003",
        "optim.warmup_steps=1", "train.steps=1000",      "optim.schedule=constant"};
    all.insert(all.end(), changes.begin(), changes.end());
    config = read_run_config({.file = "", .overrides = all});
    data.train = std::make_shared<SquareWindows>(32);
    config.model.vocab_size = data.vocab_size = 50;
    model = std::make_unique<TransformerLM>(config.model);
    initialize(*model, 2);
    trainer = std::make_unique<Trainer>(config, data, *model);
  }
};

}  // namespace moe
