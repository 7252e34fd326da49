// SPDX-License-Identifier: MIT
// Flat configurations of tutorials as ours.
#include "moe/train/config_import.h"

#include <gtest/gtest.h>

#include "moe/base/error.h"
#include "moe/train/run_config.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

RunConfig imported(const std::string& text) {
  return read_run_config({.file = "", .overrides = import_config(text, "test").keys});
}

TEST(ConfigImport, NanoGptStyle) {
  const std::string text = R"(# train a miniature character-level model
out_dir = 'runs/shakespeare'
eval_interval = 250 # keep frequent
always_save_checkpoint = False
dataset = "input.txt"
gradient_accumulation_steps = 5 * 8
batch_size = 12
block_size = 128
n_layer = 4
n_head = 4
n_embd = 128
dropout = 0.1
learning_rate = 1e-3
max_iters = 5_000
lr_decay_iters = 4000
min_lr = 1e-4
beta2 = 0.99
warmup_iters = 100
num_experts = 8
top_k = 2
capacity_factor = 1.25
)";
  const RunConfig c = imported(text);
  EXPECT_EQ(c.run_dir, "runs/shakespeare");
  EXPECT_EQ(c.data.path, "input.txt");
  EXPECT_EQ(c.data.seq_len, 128);
  EXPECT_EQ(c.model.max_seq_len, 128);
  EXPECT_EQ(c.model.n_layers, 4);
  EXPECT_EQ(c.model.n_kv_heads, 4);
  EXPECT_EQ(c.model.head_dim, 32);
  EXPECT_EQ(c.model.moe.d_ff, 512);
  EXPECT_EQ(c.model.moe.n_experts, 8);
  EXPECT_EQ(c.model.moe.capacity_factor, 1.25);
  EXPECT_EQ(c.model.norm, "layer_norm");
  EXPECT_EQ(c.train.grad_accum, 40);
  EXPECT_EQ(c.train.steps, 5000);
  EXPECT_EQ(c.optim.decay_steps, 4000);
  EXPECT_EQ(c.optim.betas, (std::vector<double>{0.9, 0.99}));
  EXPECT_EQ(import_config(text, "test").ignored,
            std::vector<std::string>{"always_save_checkpoint = false"});
}

TEST(ConfigImport, KeyValueStyleWithLayersAndNoAuxiliaryLoss) {
  const RunConfig c = imported(
      "d_model=256 n_head=8 d_ff=512\nn_experts=4\nmax_seq_len=64\ntheta=500000\n"
      "moe_layer_indices=[1,3]\nn_layers=4\nuse_moe_aux_loss=False\nmoe_aux_loss_weight=0.02\n");
  EXPECT_EQ(c.model.head_dim, 32);
  EXPECT_EQ(c.model.moe.d_ff, 512);
  EXPECT_EQ(c.model.rope_theta, 500000);
  EXPECT_EQ(c.model.moe.layers, "[1,3]");
  EXPECT_EQ(c.model.moe.aux_loss_weight, 0);
}

TEST(ConfigImport, WithoutExpertsItIsDense) {
  EXPECT_FALSE(imported("n_layer = 2\nn_head = 2\nn_embd = 32\n").model.has_moe);
}

TEST(ConfigImport, WhatIsNoAssignmentIsRefusedWithItsLine) {
  for (const char* text :
       {"import os\n", "n_layer = 2\nprint(n_layer)\n", "n_layer = os.cpu_count()\n",
        "n_layer = [1,\n", "x = 'open\n", "", "n_layer == 3\n", "3 = 4\n", "n_embd = 'x'\n",
        "n_embd = 99999999999999999999\n"})
    EXPECT_THROW(import_config(text, "test"), Error) << text;
  try {
    import_config("n_layer = 2\n\nfor i in range(3):\n", "file.py");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("file.py line 3"), std::string::npos) << e.what();
  }
}

TEST(ConfigImport, LlamaFactory) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "dataset_info.json",
                    R"({"me": {"file_name": "me.json", "columns": {"prompt": "instruction"}}})");
  const std::string text = R"(### model
model_name_or_path: models/base
stage: sft
do_train: true
finetuning_type: lora
lora_target: all
lora_rank: 16
dataset_dir: FOLDER
dataset: me
template: qwen
cutoff_len: 2048
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
val_size: 0.1
output_dir: saves/x
)";
  const auto with_folder = [&](std::string t) {
    return t.replace(t.find("FOLDER"), 6, folder.path());
  };
  const ImportedConfig c = import_llama_factory(with_folder(text), "test");
  const std::string yaml = keys_to_yaml(c.keys);
  RunConfig config;
  ConfigTable table;
  bind_run_keys(table, config);
  write_file_atomic(real_fs(), folder / "ours.yaml", yaml);
  table.read_file(folder / "ours.yaml");
  EXPECT_EQ(config.stage, "sft");
  EXPECT_EQ(config.model.init_from, "models/base");
  EXPECT_EQ(config.lora.targets, "all-linear");
  EXPECT_EQ(config.lora.rank, 16);
  EXPECT_EQ(config.lora.alpha, 32);
  EXPECT_EQ(config.data.path, folder / "me.json");
  EXPECT_EQ(config.data.chat_template, "qwen2.5");
  EXPECT_EQ(config.data.seq_len, 2048);
  EXPECT_EQ(config.train.grad_accum, 8);
  EXPECT_EQ(config.optim.lr, 1e-4);
  EXPECT_EQ(config.train.epochs, 3);
  EXPECT_EQ(config.run_dir, "saves/x");
  EXPECT_EQ(c.ignored.size(), 2u);  // do_train, columns
  const auto refused = [&](const std::string& line) {
    return error_of([&] { import_llama_factory(line, "test"); });
  };
  EXPECT_NE(refused("a: 1\nstage: dpo\n").find("test line 2: stage dpo"), std::string::npos);
  EXPECT_NE(refused("quantization_bit: 4\n").find("quantised"), std::string::npos);
  EXPECT_NE(refused("learning_rate: fast\n").find("optim.lr"), std::string::npos);
  EXPECT_NE(refused("unknown: 1\n").find("no key that is known"), std::string::npos);
  EXPECT_NE(
      refused(str("dataset_dir: ", folder.path(), "\ndataset: mee\n")).find("did you mean me?"),
      std::string::npos);
}

TEST(ConfigImport, SeveralDataSetsOfLlamaFactoryAreAMixture) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "dataset_info.json",
                    R"({"me": {"file_name": "me.json"}, "zh": {"file_name": "zh.jsonl"}})");
  const auto read = [&](const std::string& more) {
    const ImportedConfig c = import_llama_factory(
        str("dataset_dir: ", folder.path(), "\ndataset: me, zh\n", more), "test");
    RunConfig config;
    ConfigTable table;
    bind_run_keys(table, config);
    table.read_yaml(keys_to_yaml(c.keys), "ours");
    return config.data;
  };
  const DataConfig plain = read("");
  EXPECT_EQ(plain.paths(), (std::vector<std::string>{folder / "me.json", folder / "zh.jsonl"}));
  EXPECT_EQ(plain.mixture[0].weight, 0);
  EXPECT_EQ(read("mix_strategy: concat\n").mixture[1].weight, 0);
  const DataConfig over = read("mix_strategy: interleave_over\ninterleave_probs: 0.7,0.3\n");
  EXPECT_EQ(over.mixture[0].weight, 0.7);
  EXPECT_EQ(over.mixture[1].weight, 0.3);
  EXPECT_EQ(over.mixture[1].epochs, 0);
  const DataConfig under = read("mix_strategy: interleave_under\nnum_train_epochs: 2.0\n");
  EXPECT_EQ(under.mixture[0].weight, 1);
  EXPECT_EQ(under.mixture[1].epochs, 2);
  const auto refused = [&](const std::string& more) { return error_of([&] { read(more); }); };
  EXPECT_NE(refused("mix_strategy: mix\n").find("test line 3: no mix_strategy mix"),
            std::string::npos);
  EXPECT_NE(refused("mix_strategy: interleave_over\ninterleave_probs: 1\n")
                .find("1 interleave_probs for 2 data sets"),
            std::string::npos);
  EXPECT_NE(refused("mix_strategy: interleave_over\ninterleave_probs: 1,-1\n")
                .find("data.mixture[1]: weight is -1"),
            std::string::npos);
  EXPECT_NE(refused("interleave_probs: 0.5,0.5\n").find("needs mix_strategy"), std::string::npos);
}

}  // namespace
}  // namespace moe
