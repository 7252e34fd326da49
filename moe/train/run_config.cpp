// SPDX-License-Identifier: MIT
#include "moe/train/run_config.h"

#include <algorithm>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/data/prepared_data.h"
#include "moe/families/model_folder.h"
#include "moe/io/checkpoint.h"
#include "moe/optim/loss_scaler.h"

namespace moe {
namespace {

constexpr int64_t kMany = int64_t{1} << 40;

// Keys of the model that change how it trains, not what it computes.
bool is_training_key(const std::string& path) {
  return path == "model.dropout" || path == "model.neftune_alpha" ||
         path == "model.ngram_dropout" || path == "model.moe.aux_loss_weight" ||
         path == "model.moe.z_loss_weight" || path == "model.moe.expert_dropout" ||
         path == "model.moe.router_noise" || path == "model.moe.uniform_start_steps" ||
         path == "model.moe.router_warmup_steps" || path == "model.moe.bias_update_rate" ||
         path == "model.moe.allow_noncausal" || path == "model.init_from";
}

// The model `from` of a folder, with the training keys that were set; every other key that was set
// must agree. has_moe: whether the configuration has a group model.moe (null, when set, says no).
ModelConfig merge_model(const ConfigTable& table, bool has_moe, const ModelConfig& from,
                        const std::string& folder) {
  ModelConfig merged = from;
  if (from.has_moe && !has_moe && table.was_set("model.moe"))
    throw Error(str("[config] model.moe is null, but the model in ", folder,
                    " has experts; leave the key out"),
                ExitCode::usage);
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
    if (key.path == "model.vocab_size" && key.get() == "0") continue;  // the tokenizer's
    if (starts_with(key.path, "model.moe.") && !merged.has_moe)
      throw Error(str("[config] ", key.path, " is set, but the model in ", folder,
                      " has no experts; leave the key out"),
                  ExitCode::usage);
    if (key.get() != other->get())
      throw Error(str("[config] ", key.path, " is ", key.get(), ", but the model in ", folder,
                      " has ", other->get(), "; leave the key out or set it to that"),
                  ExitCode::usage);
  }
  return merged;
}

void take_init_from(const ConfigTable& table, const ConfigSource& source, RunConfig& config) {
  const std::string init_from = config.model.init_from;
  const std::string checkpoint =
      source.resume ? newest_valid_checkpoint(config.run_dir).path : std::string();
  const std::optional<RunConfig> saved =
      checkpoint.empty() ? std::nullopt : read_saved_config(checkpoint);
  if (saved) {
    config.model = merge_model(table, config.model.has_moe, saved->model, checkpoint);
    if (!table.was_set("data.tokenizer")) config.data.tokenizer = saved->data.tokenizer;
  } else {
    const std::string folder = resolve_model_folder(init_from);
    config.model = merge_model(table, config.model.has_moe, read_model_config(folder), init_from);
    const std::string tokenizer = join_path(folder, "tokenizer.json");
    if (!table.was_set("data.tokenizer") && exists(tokenizer)) config.data.tokenizer = tokenizer;
  }
  config.model.init_from = init_from;
  if (!table.was_set("data.seq_len"))
    config.data.seq_len = std::min(config.data.seq_len, config.model.max_seq_len);
}

// What is wrong with a configuration that a person wrote is a mistake in usage, wherever it stands.
template <class Read>
void as_usage(Read read) {
  try {
    read();
  } catch (const Error& e) {
    throw Error(e.what(), e.exit_code() == ExitCode::failure ? ExitCode::usage : e.exit_code());
  }
}

}  // namespace

StepMode TrainConfig::mode() const {
  StepMode mode;
  if (compute_dtype != "f32")
    mode.compute_dtype = compute_dtype == "bf16" ? DType::bf16 : DType::f16;
  if (recompute != "none")
    mode.recompute = recompute == "block" ? Recompute::block : Recompute::ffn;
  return mode;
}

void bind_run_keys(ConfigTable& t, RunConfig& c) {
  t.string("run_dir", c.run_dir, "folder of the run: configuration, metrics, plots, checkpoints");
  t.choice(
      "stage", c.stage, {"pretrain", "sft"},
      "pretrain: text, every token learned; sft: conversations, the assistant's tokens learned");
  bind_model_keys(t, c.model);
  add_data_keys(t, c.data);
  add_lora_keys(t, c.lora);
  add_optim_keys(t, c.optim);
  TrainConfig& r = c.train;
  t.integer("train.steps", r.steps, 0, kMany, "optimiser steps");
  t.number("train.epochs", r.epochs, 0, 1e6,
           "passes over the training data, in place of train.steps; 0: train.steps counts");
  t.integer("train.early_stop", r.early_stop, 0, kMany,
            "end after so many evaluations in a row without a better validation loss; 0: never");
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
  t.string("train.freeze", r.freeze,
           "what is not trained: router, experts, or patterns of tensor names such as "
           "*.experts.3.*, by commas");
  t.number("train.expert_grad_clip", r.expert_grad_clip, 0, 1e9,
           "largest gradient norm of one expert, before the global one; 0: no clipping");
  t.boolean("train.log_expert_norms", r.log_expert_norms,
            "gradient norm of each expert in metrics.jsonl");
  t.integer("train.dead_expert_steps", r.dead_expert_steps, 0, kMany,
            "an expert with less than 1 % of its even share for so many steps in a row takes the "
            "weights of the layer's busiest one; 0: never");
  t.integer(
      "train.max_skips", r.max_skips, 0, kMany,
      "a step whose loss or gradient is not finite, or a spike, is skipped; after so many in a "
      "row the run goes back to its last checkpoint and on with later data; 0: such a step ends "
      "the run");
  t.number("train.spike_sigmas", r.spike_sigmas, 0, 1e6,
           "with max_skips: a gradient norm above the mean of the latest 100 by so many standard "
           "deviations is a spike; 0: only what is not finite");
  t.choice("train.compute_dtype", r.compute_dtype, {"f32", "bf16", "f16"},
           "what matrix products and attention compute in, adding up in float32; weights, routers, "
           "norms, softmax and loss are float32 always, and evaluation is");
  t.number("train.loss_scale", r.loss_scale, 1, LossScaler::kLargest,
           "with f16: what the loss is multiplied by before backward, at the start; halved when a "
           "gradient overflows, and that step is left out");
  t.integer("train.loss_scale_window", r.loss_scale_window, 0, kMany,
            "with f16: steps without an overflow before the factor is doubled; 0: never");
  t.choice("train.recompute", r.recompute, {"none", "ffn", "block"},
           "what backward computes again instead of keeping it: the feed-forward halves of the "
           "blocks, or whole blocks; less memory, more time, the same numbers");
  t.integer("train.threads", r.threads, 0, 1024, "threads; 0: all CPUs; no number changes with it");
}

RunConfig read_run_config(const ConfigSource& source) {
  RunConfig config;
  config.model.has_moe = source.file.empty();  // a file without a moe group is a dense model
  ConfigTable table;
  bind_run_keys(table, config);
  as_usage([&] {
    if (!source.file.empty()) table.read_file(source.file);
    table.apply_overrides(source.overrides);
  });
  if (!config.model.init_from.empty()) take_init_from(table, source, config);
  take_prepared_keys(table, config.data);
  // Part of the model from now on: evaluation and generation divide the same room.
  if (config.model.moe.capacity_factor > 0 && config.model.moe.capacity_tokens == 0)
    config.model.moe.capacity_tokens = config.data.seq_len;
  auto check = [](bool ok, const std::string& message) {
    if (!ok) throw Error("[config] " + message, ExitCode::usage);
  };
  check(config.data.mixture.empty() || config.data.path == "demo",
        "data.path and data.mixture are both set; name all sources in data.mixture");
  const std::vector<std::string> paths = config.data.paths();
  check(config.stage != "sft" || std::find(paths.begin(), paths.end(), "demo") == paths.end(),
        "stage=sft needs conversations; set data.path to a file of them (moe data inspect shows "
        "what it holds)");
  check(!config.has_adapter() || !config.model.init_from.empty(),
        "lora.targets and lora.moe_lora train an adapter of a model; name it with model.init_from");
  check(config.lora.moe_lora.n_experts > 0 || config.lora.moe_lora == MoeLoraConfig(),
        "lora.moe_lora needs n_experts; set lora.moe_lora.n_experts");
  check(config.train.early_stop == 0 || config.train.eval_every > 0,
        "train.early_stop needs evaluations; set train.eval_every");
  check(!config.run_dir.empty(), "run_dir is empty; name a folder");
  check(config.data.seq_len <= config.model.max_seq_len,
        str("data.seq_len is ", config.data.seq_len,
            ", but the model takes at most model.max_seq_len = ", config.model.max_seq_len,
            " tokens; set one of them"));
  check(config.optim.min_lr <= config.optim.lr || config.optim.schedule == "constant" ||
            !table.was_set("optim.min_lr"),
        str("optim.min_lr ", config.optim.min_lr, " is above optim.lr ", config.optim.lr));
  config.optim.min_lr = std::min(config.optim.min_lr, config.optim.lr);
  as_usage([&] { resolve_layers(config.model); });
  return config;
}

std::optional<RunConfig> read_saved_config(const std::string& checkpoint) {
  const std::string path = join_path(checkpoint, "config.yaml");
  if (!exists(path)) return std::nullopt;
  RunConfig saved;
  ConfigTable table;
  bind_run_keys(table, saved);
  table.read_file(path);
  return saved;
}

void check_resumable(const RunConfig& config, const RunConfig& saved) {
  RunConfig now = config, before = saved;
  if (now.model.vocab_size == 0) now.model.vocab_size = before.model.vocab_size;
  if (now.model.has_moe != before.model.has_moe)
    throw Error(
        str("[config] the run was trained ", before.model.has_moe ? "with" : "without",
            " a group model.moe and cannot go on ", before.model.has_moe ? "without" : "with",
            " one; start a new run in another run_dir"),
        ExitCode::usage);
  ConfigTable table, theirs;
  bind_run_keys(table, now);
  bind_run_keys(theirs, before);
  for (const ConfigKey& key : table.keys()) {
    const bool is_function = starts_with(key.path, "model.") && !is_training_key(key.path) &&
                             (now.model.has_moe || !starts_with(key.path, "model.moe."));
    const bool is_adapter = starts_with(key.path, "lora.") && key.path != "lora.dropout";
    if (!is_function && !is_adapter && key.path != "train.seed" && key.path != "data.tokenizer")
      continue;
    const std::string was = theirs.find(key.path)->get(), is = key.get();
    if (was != is)
      throw Error(str("[config] ", key.path, " is ", is, ", but the run was trained with ", was,
                      "; resume with that, or start a new run in another run_dir"),
                  ExitCode::usage);
  }
}

std::string to_yaml(RunConfig config) {
  ConfigTable table;
  bind_run_keys(table, config);
  return table.to_yaml();
}

}  // namespace moe
