// SPDX-License-Identifier: MIT
#include "moe/train/run_config.h"

#include <algorithm>

#include "moe/families/model_folder.h"

namespace moe {
namespace {

constexpr int64_t kMany = int64_t{1} << 40;

// Keys of the model that change how it trains, not what it computes.
bool is_training_key(const std::string& path) {
  return path == "model.dropout" || path == "model.moe.aux_loss_weight" ||
         path == "model.moe.z_loss_weight" || path == "model.moe.bias_update_rate" ||
         path == "model.moe.allow_noncausal" || path == "model.init_from";
}

// The model of init_from, with the training keys that were set; every other key that was set must
// agree.
ModelConfig merge_init_from(const ConfigTable& table, const ModelConfig& asked) {
  ModelConfig merged = read_model_config(resolve_model_folder(asked.init_from));
  ConfigTable theirs;
  bind_model_keys(theirs, merged);
  for (const ConfigKey& key : table.keys()) {
    if (!starts_with(key.path, "model.") || !table.was_set(key.path)) continue;
    const ConfigKey* other = theirs.find(key.path);
    if (is_training_key(key.path)) {
      const bool had_moe = merged.has_moe;
      other->set(key.get());
      merged.has_moe = had_moe;  // a weight of a loss makes no experts
      continue;
    }
    if (starts_with(key.path, "model.moe.") && !merged.has_moe)
      throw Error(str("[config] ", key.path, " is set, but the model in ", asked.init_from,
                      " has no experts; leave the key out"),
                  ExitCode::usage);
    if (key.get() != other->get())
      throw Error(
          str("[config] ", key.path, " is ", key.get(), ", but the model in ", asked.init_from,
              " has ", other->get(), "; leave the key out or set it to that"),
          ExitCode::usage);
  }
  merged.init_from = asked.init_from;
  return merged;
}

}  // namespace

void bind_run_keys(ConfigTable& t, RunConfig& c) {
  t.string("run_dir", c.run_dir, "folder of the run: configuration, metrics, plots, checkpoints");
  bind_model_keys(t, c.model);
  add_data_keys(t, c.data);
  add_optim_keys(t, c.optim);
  TrainConfig& r = c.train;
  t.integer("train.steps", r.steps, 0, kMany, "optimiser steps");
  t.number("train.minutes", r.minutes, 0, 1e9,
           "stop after this many minutes, the learning rate coming down in time; 0: no limit");
  t.integer("train.batch_size", r.batch_size, 1, 1 << 20, "windows in one micro-batch");
  t.integer("train.grad_accum", r.grad_accum, 1, 1 << 20, "micro-batches in one optimiser step");
  t.integer("train.eval_every", r.eval_every, 0, kMany,
            "steps between evaluations on the validation split; 0: never");
  t.integer("train.eval_windows", r.eval_windows, 0, kMany,
            "validation windows of one evaluation, evenly spread; 0: all");
  t.integer("train.checkpoint_every", r.checkpoint_every, 0, kMany,
            "steps between checkpoints; 0: only the last one");
  t.integer("train.keep", r.keep, 1, 1 << 20, "checkpoints that are kept");
  t.integer("train.seed", r.seed, 0, int64_t{1} << 62,
            "seed of initialisation, data order and dropout");
  t.integer("train.threads", r.threads, 0, 1024, "threads; 0: all CPUs; no number changes with it");
}

RunConfig read_run_config(const ConfigSource& source) {
  RunConfig config;
  config.model.has_moe = source.file.empty();  // a file without a moe group is a dense model
  ConfigTable table;
  bind_run_keys(table, config);
  if (!source.file.empty()) table.read_file(source.file);
  table.apply_overrides(source.overrides);
  if (!config.model.init_from.empty()) {
    const ModelConfig merged = merge_init_from(table, config.model);
    if (!table.was_set("data.seq_len"))
      config.data.seq_len = std::min(config.data.seq_len, merged.max_seq_len);
    config.model = merged;
  }
  auto check = [](bool ok, const std::string& message) {
    if (!ok) throw Error("[config] " + message, ExitCode::usage);
  };
  check(!config.run_dir.empty(), "run_dir is empty; name a folder");
  check(config.data.seq_len <= config.model.max_seq_len,
        str("data.seq_len is ", config.data.seq_len,
            ", but the model takes at most model.max_seq_len = ", config.model.max_seq_len,
            " tokens; set one of them"));
  check(config.optim.min_lr <= config.optim.lr || config.optim.schedule == "constant" ||
            !table.was_set("optim.min_lr"),
        str("optim.min_lr ", config.optim.min_lr, " is above optim.lr ", config.optim.lr));
  config.optim.min_lr = std::min(config.optim.min_lr, config.optim.lr);
  try {
    resolve_layers(config.model);
  } catch (const Error& e) {
    throw Error(e.what(), ExitCode::usage);
  }
  return config;
}

std::string to_yaml(RunConfig config) {
  ConfigTable table;
  bind_run_keys(table, config);
  return table.to_yaml();
}

}  // namespace moe
