// SPDX-License-Identifier: MIT
// Low-rank adapters: PEFT's numbers, gradients, what they leave alone, merging, files.
#include <gtest/gtest.h>

#include "moe/families/adapter_folder.h"
#include "moe/ops/cross_entropy.h"
#include "moe/ops/elementwise.h"

#include "tests/base/temp_folder.h"
#include "tests/families/model_testing.h"
#include "tests/families/oracle.h"

namespace moe {
namespace {

// A and B with draws of their own, as if they had been trained.
void fill_adapter(const TransformerLM& model, int adapter) {
  const RngStream draws(3, 0, "adapter");
  int64_t i = 0;
  for (const Parameter& p : adapter_parameters(model, adapter))
    for (const Piece& piece : p.pieces) {
      const Tensor values = Tensor::empty(piece_shape(p, piece), p.var.dtype());
      ++i;
      with_elements(values, [&](auto v) {
        using Number = std::remove_reference_t<decltype(v[0])>;
        for (size_t j = 0; j < v.size(); ++j)
          v[j] = Number(float(0.3 * draws.normal(int64_t(j), i)));
      });
      write_piece(p.var.value(), piece, values);
    }
}

const std::vector<int32_t> kIds = {3, 17, 42, 8, 8, 30, 1, 0, 49, 25, 11, 7};

class PeftGolden : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(PeftGolden, LogitsInFloat64) {
  const auto [name, family] = GetParam();
  const std::string golden = join_path(join_path(MOE_GOLDEN_DIR, "adapters"), name);
  ModelFolder folder = load_model_folder(golden_folder(family), DType::f64);
  folder.model->use_adapter(add_adapter_folder(folder, golden));
  const SafetensorsFile file(golden + "/logits.safetensors");
  const Tensor ids = file.tensor("ids");
  const std::vector<int32_t> tokens(ids.data<int32_t>().begin(), ids.data<int32_t>().end());
  // The oracle tests allow 5e-7 of rounding in transformers; the adapters are as large as the
  // weights.
  EXPECT_LT(max_difference(logits_of(*folder.model, tokens), file.tensor("logits")), 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Cases, PeftGolden,
                         ::testing::Values(std::pair("llama-linear", "llama"),
                                           std::pair("qwen2-rslora", "qwen2"),
                                           std::pair("llama-ranks", "llama"),
                                           std::pair("llama-embedding", "llama"),
                                           std::pair("llama-one-layer", "llama")),
                         [](const auto& info) {
                           std::string name = info.param.first;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

struct Case {
  const char* name;
  LoraConfig config;
};
std::vector<Case> cases() {
  return {{"attention", {.targets = "attention"}},
          {"one of three fused", {.targets = "k_proj"}},
          {"gate alone", {.targets = "gate_proj"}},
          {"experts", {.targets = "experts", .rank = 3}},
          {"experts share", {.targets = "experts", .rank = 3, .share_experts = true}},
          {"shared expert", {.targets = "shared"}},
          {"router", {.targets = "router"}},
          {"embedding", {.targets = "embedding"}},
          {"head", {.targets = "head"}},
          {"pattern", {.targets = "*.layers.1.mlp.*"}},
          {"all", {.targets = "all-linear,router,embedding,head", .scaling = "rslora"}},
          {"ffn", {.targets = "ffn", .scaling = "alpha"}}};
}

ModelConfig model_for(const Case& c, DType dtype) {
  ModelConfig config = small_moe();
  config.tie_embeddings = false;
  if (std::string(c.name) == "shared expert" || std::string(c.name) == "all") {
    config.moe.n_shared_experts = 1;
    config.moe.shared_gate = true;
  }
  if (std::string(c.name) == "ffn") config.moe.layers = "[1]";
  if (dtype == DType::f64) config.moe.aux_loss_weight = 0;
  return config;
}

TEST(Lora, ANewAdapterChangesNoBit) {
  for (const Case& c : cases()) {
    TransformerLM model(model_for(c, DType::f32));
    fill_random(model);
    const Tensor before = logits_of(model, kIds);
    model.use_adapter(add_adapter(model, c.config, 1));
    // A sum with 0 keeps every bit but the sign of -0, which no logit here has.
    EXPECT_TRUE(same_bits(before, logits_of(model, kIds))) << c.name;
  }
}

TEST(Lora, TheMergedModelComputesWhatTheAdapterDoes) {
  for (const Case& c : cases()) {
    TransformerLM model(model_for(c, DType::f64), DType::f64);
    fill_random(model);
    const Tensor plain = logits_of(model, kIds);
    const int adapter = add_adapter(model, c.config, 1);
    fill_adapter(model, adapter);
    EXPECT_TRUE(same_bits(plain, logits_of(model, kIds))) << c.name;  // it is not in use
    model.use_adapter(adapter);
    const Tensor beside = logits_of(model, kIds);
    EXPECT_GT(max_difference(plain, beside), 1e-3) << c.name;
    merge_adapter(model, adapter);
    EXPECT_EQ(model.n_adapters(), 0);
    EXPECT_LT(max_difference(beside, logits_of(model, kIds)), 1e-10) << c.name;
  }
}

double loss_of(const TransformerLM& model) {
  const LmOutput out = model(pack_sequences({kIds}));
  return next_token_loss(model, out, {kIds}).value().data<double>()[0];
}

TEST(Lora, GradientsAgainstFiniteDifferencesAndNoneForTheModel) {
  for (const Case& c : cases()) {
    TransformerLM model(model_for(c, DType::f64), DType::f64);
    fill_random(model);
    freeze(model);
    const int adapter = add_adapter(model, c.config, 1);
    fill_adapter(model, adapter);
    model.use_adapter(adapter);
    {
      Tape tape;
      const LmOutput out = model(pack_sequences({kIds}));
      tape.backward(next_token_loss(model, out, {kIds}));
    }
    for (const Parameter& p : model.parameters()) EXPECT_FALSE(p.var.has_grad()) << p.name;
    const RngStream draws(9, 0, "places");
    for (const Parameter& p : adapter_parameters(model, adapter))
      for (const Piece& piece : p.pieces) {
        const Tensor gradient = read_piece(p.var.grad(), piece),
                     values = read_piece(p.var.value(), piece);
        for (int64_t k = 0; k < 3; ++k) {
          const auto j = size_t(draws.below(uint64_t(values.numel()), k, 0));
          const double x = values.data<double>()[j];
          constexpr double kStep = 1e-5;
          const auto loss_at = [&](double v) {
            values.data<double>()[j] = v;
            write_piece(p.var.value(), piece, values);
            return loss_of(model);
          };
          const double slope = (loss_at(x + kStep) - loss_at(x - kStep)) / (2 * kStep);
          loss_at(x);
          // Central differences: the third derivative times step^2 / 6.
          EXPECT_NEAR(gradient.data<double>()[j], slope, 1e-7 + 1e-5 * std::abs(slope))
              << c.name << " " << piece.name;
        }
      }
  }
}

TEST(Lora, FilesGiveTheSameBitsAndSeveralAdaptersStandSideBySide) {
  for (const Case& c : cases()) {
    const ScratchFolder base, one;
    {
      TransformerLM model(model_for(c, DType::f32));
      fill_random(model);
      write_folder(base, model);
      const int adapter = add_adapter(model, c.config, 1);
      fill_adapter(model, adapter);
      write_adapter_files(
          [&](const std::string& name, const ByteProducer& content) {
            std::string bytes;
            content([&](std::span<const std::byte> part) {
              bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
            });
            one.put(name, bytes);
          },
          model, adapter, c.config, base.path());
      model.use_adapter(adapter);
      // By its own folder, and beside another on the base.
      const ModelFolder own = load_model_folder(one.path());
      EXPECT_TRUE(same_bits(logits_of(model, kIds), logits_of(*own.model, kIds))) << c.name;
      model.use_adapter(-1);
      ModelFolder both = load_model_folder(base.path());
      add_adapter_folder(both, one.path());
      const int other = add_adapter(*both.model, {.targets = "attention", .rank = 5}, 2);
      fill_adapter(*both.model, other);
      EXPECT_TRUE(same_bits(logits_of(model, kIds), logits_of(*both.model, kIds)));
      both.model->use_adapter(0);
      EXPECT_TRUE(same_bits(logits_of(*own.model, kIds), logits_of(*both.model, kIds))) << c.name;
      both.model->use_adapter(other);
      EXPECT_FALSE(same_bits(logits_of(*own.model, kIds), logits_of(*both.model, kIds)));
    }
  }
}

TEST(Lora, WhatDoesNotFitIsRefused) {
  ModelFolder folder = load_model_folder(golden_folder("mixtral"));
  EXPECT_NE(error_of([&] {
              add_adapter_folder(folder, join_path(MOE_GOLDEN_DIR, "adapters/llama-linear"));
            }).find("made for another one"),
            std::string::npos);
  EXPECT_EQ(folder.model->n_adapters(), 0);
  EXPECT_NE(error_of([&] {
              add_adapter_folder(folder, golden_folder("llama"));
            }).find("holds no adapter_config.json"),
            std::string::npos);
  TransformerLM model(small_moe());
  const auto refused = [&](const LoraConfig& config) {
    return error_of([&] { add_adapter(model, config, 1); });
  };
  EXPECT_NE(refused({.targets = "q_prj"}).find("Did you mean q_proj?"), std::string::npos);
  EXPECT_NE(refused({.targets = "*.experts.3.*"}).find("names 1 of the 5 experts"),
            std::string::npos);
  EXPECT_EQ(model.n_adapters(), 0);
  add_adapter(model, {.targets = "embedding"}, 1);
  EXPECT_NE(error_of([&] { merge_adapter(model, 0); }).find("cannot be merged"), std::string::npos);
  const ScratchFolder bad;
  const auto info = [&](const char* json) {
    bad.put("adapter_config.json", json);
    return error_of([&] { read_adapter_info(bad.path()); });
  };
  EXPECT_NE(info(R"({"peft_type": "IA3", "r": 4})").find("only LORA"), std::string::npos);
  EXPECT_NE(info(R"({"r": 0})").find("r is 0"), std::string::npos);
  EXPECT_NE(info(R"({"r": 4, "use_dora": true})").find("use_dora"), std::string::npos);
  EXPECT_NE(info(R"({"r": 4, "alpha_pattern": {"q_proj": 3}})").find("alpha_pattern"),
            std::string::npos);
  EXPECT_EQ(info(R"({"r": 4, "alpha_pattern": {}, "modules_to_save": null})"), "");
}

TEST(Lora, ScalesAsThePapersSay) {
  EXPECT_EQ(lora_scale({.rank = 16, .alpha = 32}), 2);
  EXPECT_EQ(lora_scale({.rank = 16, .alpha = 32, .scaling = "rslora"}), 8);
  EXPECT_EQ(lora_scale({.rank = 16, .alpha = 32, .scaling = "alpha"}), 32);
}

}  // namespace
}  // namespace moe
