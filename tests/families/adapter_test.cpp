// SPDX-License-Identifier: MIT
// Low-rank adapters: PEFT's numbers, gradients, what they leave alone, merging, files.
#include <gtest/gtest.h>

#include "moe/base/parallel.h"
#include "moe/families/adapter_folder.h"
#include "moe/nn/dora.h"
#include "moe/ops/dropout.h"

#include "tests/base/temp_folder.h"
#include "tests/families/model_testing.h"
#include "tests/families/oracle.h"

namespace moe {
namespace {

// A and B with draws of their own, as if they had been trained; magnitudes a little longer or
// shorter.
void fill_adapter(const TransformerLM& model, int adapter) {
  const RngStream draws(3, 0, "adapter");
  int64_t i = 0;
  for (const Parameter& p : adapter_parameters(model, adapter))
    for (const Piece& piece : p.pieces) {
      const Tensor values = read_piece(p.var.value(), piece);
      const bool scales = p.role == Role::scale;
      ++i;
      with_elements(values, [&](auto v) {
        using Number = std::remove_reference_t<decltype(v[0])>;
        for (size_t j = 0; j < v.size(); ++j)
          v[j] = scales ? v[j] * Number(1 + 0.2 * draws.uniform(int64_t(j), i))
                        : Number(float(0.3 * draws.normal(int64_t(j), i)));
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

INSTANTIATE_TEST_SUITE_P(
    Cases, PeftGolden,
    ::testing::Values(std::pair("llama-linear", "llama"), std::pair("qwen2-rslora", "qwen2"),
                      std::pair("llama-ranks", "llama"), std::pair("llama-embedding", "llama"),
                      std::pair("llama-dora", "llama"), std::pair("bias-dora", "llama-bias"),
                      std::pair("llama-dora-embedding", "llama"),
                      std::pair("llama-one-layer", "llama")),
    [](const auto& info) {
      std::string name = info.param.first;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(DoraGolden, GradientsArePeftsThatHoldsTheNormFixed) {
  for (const auto& [name, family] :
       {std::pair("llama-dora", "llama"), std::pair("bias-dora", "llama-bias"),
        std::pair("llama-dora-embedding", "llama")}) {
    const std::string golden = join_path(join_path(MOE_GOLDEN_DIR, "adapters"), name);
    ModelFolder folder = load_model_folder(golden_folder(family), DType::f64);
    const int adapter = add_adapter_folder(folder, golden);
    folder.model->use_adapter(adapter);
    const Tensor ids = SafetensorsFile(golden + "/logits.safetensors").tensor("ids");
    const std::vector<int32_t> tokens(ids.data<int32_t>().begin(), ids.data<int32_t>().end());
    Tape tape;
    const LmOutput out = (*folder.model)(pack_sequences({tokens}));
    tape.backward(next_token_loss(*folder.model, out, {tokens}));
    const SafetensorsFile file(golden + "/gradients.safetensors");
    size_t n = 0;
    for (const Parameter& p : adapter_parameters(*folder.model, adapter))
      for (const Piece& piece : p.pieces) {
        const Tensor wanted = file.tensor("base_model.model." + piece.name);
        const Tensor gradient = read_piece(p.var.grad(), piece);
        // PEFT keeps the table of an embedding's A as [rank, V].
        const bool turned = piece.name.ends_with(".lora_embedding_A");
        const int64_t cols = turned ? wanted.size(1) : 1, rows = wanted.numel() / cols;
        double scale = 0;
        for (int64_t i = 0; i < wanted.numel(); ++i)
          scale = std::max(scale, std::abs(element(wanted, i)));
        for (int64_t i = 0; i < wanted.numel(); ++i)
          EXPECT_NEAR(element(gradient, turned ? i % cols * rows + i / cols : i),
                      element(wanted, i), 1e-7 + 1e-5 * scale)
              << name << " " << piece.name;
        ++n;
      }
    EXPECT_EQ(n, file.entries().size()) << name;
  }
}

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
          {"ffn", {.targets = "ffn", .scaling = "alpha"}},
          {"dora one of three", {.targets = "v_proj", .rank = 1, .use_dora = true}},
          {"dora gate alone", {.targets = "gate_proj", .use_dora = true}},
          {"dora experts share",
           {.targets = "experts", .rank = 3, .share_experts = true, .use_dora = true}},
          {"dora all",
           {.targets = "all-linear,router,embedding,head", .scaling = "rslora", .use_dora = true}},
          {"mixture",
           {.targets = "attention",
            .rank = 3,
            .moe_lora = {.n_experts = 4, .top_k = 2, .aux_loss_weight = 0}}},
          {"mixture alone",
           {.rank = 1, .moe_lora = {.n_experts = 2, .top_k = 1, .aux_loss_weight = 0}}}};
}

ModelConfig model_for(const Case& c, DType dtype) {
  ModelConfig config = c.config.moe_lora.n_experts > 0 ? small_dense() : small_moe();
  config.tie_embeddings = false;
  if (std::string(c.name) == "shared expert" || std::string(c.name) == "all" ||
      std::string(c.name) == "dora all") {
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
    if (c.config.moe_lora.n_experts > 0) {
      EXPECT_NE(error_of([&] { merge_adapter(model, adapter); }).find("cannot be merged"),
                std::string::npos);
      EXPECT_TRUE(same_bits(beside, logits_of(model, kIds))) << c.name;
      continue;
    }
    merge_adapter(model, adapter);
    EXPECT_EQ(model.n_adapters(), 0);
    EXPECT_LT(max_difference(beside, logits_of(model, kIds)), 1e-10) << c.name;
  }
}

using Gains = std::vector<std::vector<double>>;

// m / norm of every row of DoRA, or nothing.
Gains gains_of(const TransformerLM& model) {
  Gains out;
  for (const LoraSite& site : model.lora_sites())
    for (const LoraPart& part : *site.parts)
      if (!part.m.empty()) {
        const Tensor gain = dora_gain(part, site.weight, site.sizes).value();
        out.emplace_back(gain.data<double>().begin(), gain.data<double>().end());
      }
  return out;
}
// Magnitudes for which the gains are `gains` whatever A and B are now. DoRA's backward takes the
// norm for a constant; finite differences see the same function when m follows the norm.
void hold_gains(const TransformerLM& model, const Gains& gains) {
  size_t i = 0;
  for (const LoraSite& site : model.lora_sites())
    for (const LoraPart& part : *site.parts) {
      if (part.m.empty()) continue;
      const std::vector<double>& before = gains[i++];
      const Tensor now = dora_gain(part, site.weight, site.sizes).value();
      const int64_t cols = now.shape()[-1];
      for (size_t t = 0; t < part.m.size(); ++t)
        for (int64_t e = 0; e < part.m[t].value().n_matrices(); ++e) {
          const int64_t n = part.m[t].shape()[-2];
          const Tensor m = read_rows(part.m[t].value(), e, 0, n);
          int64_t row = 0;
          for (size_t s = 0; s < part.targets[t]; ++s) row += site.sizes[s];
          const PanelMap map = part.embedding ? PanelMap{} : site.weight.value().panel_map();
          for (int64_t r = 0; r < n; ++r) {
            const auto k = size_t(e * cols + (part.embedding ? r
                                              : map.gate_up  ? map.stored_row(row + r)
                                                             : row + r));
            m.data<double>()[size_t(r)] *= before[k] / now.data<double>()[k];
          }
          write_rows(part.m[t].value(), e, 0, m);
        }
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
    const Gains gains = gains_of(model);
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
            if (p.role != Role::scale) hold_gains(model, gains);
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

// PEFT's sum, written out: W x + (g - 1) W x' + g s B A x' + bias, x' dropped.
TEST(Dora, DropoutActsOnAllButTheUnchangedProduct) {
  constexpr int64_t T = 3, I = 5, O = 4, R = 2;
  const RngStream draws(4, 0, "dora");
  int64_t n = 0;
  const auto random = [&](Shape shape, Layout layout) {
    const Tensor t = Tensor::zeros(shape, DType::f64, layout);
    const Tensor values = Tensor::empty(shape, DType::f64);
    ++n;
    for (int64_t i = 0; i < values.numel(); ++i)
      values.data<double>()[size_t(i)] = draws.normal(i, n);
    if (layout == Layout::row_major) return values;
    write_rows(t, 0, 0, values);
    return t;
  };
  const auto panels = [&](Shape shape) { return Var(random(shape, Layout::panel16)); };
  const Var weight = panels({O, I}), bias = panels({O, 1}), x(random({T, I}, Layout::row_major));
  LoraPart part{.rank = R,
                .scale = 0.7,
                .dropout = 0.5,
                .targets = {0},
                .a = panels({R, I}),
                .b = {panels({O, R})}};
  add_magnitudes(part, weight, {O});
  write_rows(part.m[0].value(), 0, 0, random({O, 1}, Layout::row_major));
  ForwardContext ctx = pack_sequences({{1, 2, 3}});
  ctx.training = true;
  const Tensor y = adapted_linear(part, weight, bias, {O}, x, {}, {}, "up_proj", ctx).value();
  const Tensor dropped =
      ops::dropout(x, 0.5, ctx.rng.stream("dropout.lora.up_proj", ctx.layer), ctx.token_index_T)
          .value();
  const auto rows = [](const Var& v) { return read_rows(v.value(), 0, 0, v.size(0)); };
  const Tensor w = rows(weight), a = rows(part.a), b = rows(part.b[0]), m = rows(part.m[0]),
               c = rows(bias);
  const auto at = [](const Tensor& t, int64_t r, int64_t col) {
    return t.data<double>()[size_t(r * t.size(1) + col)];
  };
  for (int64_t t = 0; t < T; ++t)
    for (int64_t o = 0; o < O; ++o) {
      double square = 0, plain = 0, plain_dropped = 0, change = 0;
      for (int64_t i = 0; i < I; ++i) {
        double ba = 0;
        for (int64_t k = 0; k < R; ++k) ba += at(b, o, k) * at(a, k, i);
        square += std::pow(at(w, o, i) + 0.7 * ba, 2);
        plain += at(w, o, i) * at(x.value(), t, i);
        plain_dropped += at(w, o, i) * at(dropped, t, i);
        change += 0.7 * ba * at(dropped, t, i);
      }
      const double g = at(m, o, 0) / std::sqrt(square);
      EXPECT_NEAR(at(y, t, o), plain + (g - 1) * plain_dropped + g * change + at(c, o, 0), 1e-12);
    }
}

TEST(Lora, LogitsAreTheSameBitsAloneInABatchAndWithAnyThreads) {
  for (const Case& c : cases()) {
    TransformerLM model(model_for(c, DType::f32));
    fill_random(model);
    const int adapter = add_adapter(model, c.config, 1);
    fill_adapter(model, adapter);
    model.use_adapter(adapter);
    const Tensor alone = logits_of(model, kIds);
    const std::vector<int32_t> other = {5, 5, 9, 31, 2};
    for (const int threads : {1, 2, 3}) {
      set_threads(threads);
      const Tensor both = model.logits(model(pack_sequences({other, kIds})).hidden_TD).value();
      EXPECT_TRUE(same_bits(alone, both.rows(5, 5 + int64_t(kIds.size())).clone()))
          << c.name << ", threads " << threads;
    }
    set_threads(0);
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
  EXPECT_NE(refused({.targets = "attention", .alpha = 0}).find("lora.alpha is 0"),
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
  EXPECT_NE(info(R"({"r": 4, "alpha_pattern": {"q_proj": "3"}})").find("alpha_pattern"),
            std::string::npos);
  EXPECT_NE(info(R"({"r": 4, "lora_alpha": 0})").find("lora_alpha is 0"), std::string::npos);
  EXPECT_NE(info(R"({"r": 4, "peft_type": "MOE_LORA"})").find("n_experts"), std::string::npos);
  EXPECT_NE(info(R"({"r": 4, "peft_type": "MOE_LORA", "moe_lora": {"n_experts": 2, "top_k": 3}})")
                .find("takes 3"),
            std::string::npos);
  EXPECT_NE(info(R"({"r": 4, "target_parameters": "all"})").find("target_parameters"),
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
