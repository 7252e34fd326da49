// SPDX-License-Identifier: MIT
// What is read is written back as it was, tensor by tensor and key by key, in every form that files
// take.
#include <cmath>
#include <limits>

#include "moe/families/families.h"
#include "moe/io/safetensors_folder.h"

#include "tests/families/model_testing.h"
#include "tests/families/oracle.h"

namespace moe {
namespace {

std::string bytes_of(const SafetensorsFolder::Item& item) {
  const auto bytes = item.file->bytes(*item.entry);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void expect_same_tensors(const std::string& a, const std::string& b) {
  const SafetensorsFolder first(a), second(b);
  ASSERT_EQ(first.items().size(), second.items().size());
  for (size_t i = 0; i < first.items().size(); ++i) {
    const SafetensorsFolder::Item &x = first.items()[i], &y = second.items()[i];
    ASSERT_EQ(x.entry->name, y.entry->name);
    EXPECT_EQ(x.entry->shape_text(), y.entry->shape_text()) << x.entry->name;
    EXPECT_EQ(x.entry->dtype, y.entry->dtype) << x.entry->name;
    EXPECT_EQ(bytes_of(x), bytes_of(y)) << x.entry->name;
  }
}

void expect_same_model(const TransformerLM& a, const TransformerLM& b) {
  EXPECT_EQ(a.config(), b.config());
  const std::vector<Parameter> p = a.parameters(), q = b.parameters();
  ASSERT_EQ(p.size(), q.size());
  for (size_t i = 0; i < p.size(); ++i)
    EXPECT_TRUE(same_bits(p[i].var.value(), q[i].var.value())) << p[i].name;
  const std::vector<Buffer> s = a.buffers(), t = b.buffers();
  ASSERT_EQ(s.size(), t.size());
  for (size_t i = 0; i < s.size(); ++i) EXPECT_TRUE(same_bits(s[i].value, t[i].value)) << s[i].name;
}

class RoundTrip : public testing::TestWithParam<std::string> {};

TEST_P(RoundTrip, KeepsFamilyConfigAndEveryTensorsBytes) {
  const ModelFolder source = load_model_folder(golden_folder(GetParam()));
  const ScratchFolder copy;
  write_folder(copy, *source.model);
  const ModelFolder again = load_model_folder(copy.path());
  EXPECT_EQ(again.model_type, source.model_type);
  EXPECT_EQ(again.model->config(), source.model->config());
  expect_same_tensors(source.path, copy.path());
}

TEST_P(RoundTrip, ShardsHoldTheSame) {
  const ModelFolder source = load_model_folder(golden_folder(GetParam()));
  const ScratchFolder copy;
  write_folder(copy, *source.model, 8'000);
  EXPECT_GT(SafetensorsFolder(copy.path()).n_files(), 2u);
  expect_same_tensors(source.path, copy.path());
  expect_same_model(*load_model_folder(copy.path()).model, *source.model);
}

INSTANTIATE_TEST_SUITE_P(Families, RoundTrip, testing::ValuesIn(oracle_names()),
                         [](const testing::TestParamInfo<std::string>& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// ---- forms of one family -----------------------------------------------------------------------

std::vector<TensorSource> tensors_of(const std::string& folder) {
  const SafetensorsFolder files(folder);
  std::vector<TensorSource> out;
  for (const SafetensorsFolder::Item& item : files.items())
    out.push_back(tensor_source(item.entry->name, files.tensor(item.entry->name)));
  return out;
}

// A copy of a golden folder with other tensors.
void put_folder(const ScratchFolder& to, const std::string& golden,
                const std::vector<TensorSource>& tensors) {
  to.copy(join_path(golden_folder(golden), "config.json"), "config.json");
  to.put_tensors(tensors);
}

// transformers 5 keeps the experts of a layer in two stacks, gate half first.
void expect_stacked_experts_read(const std::string& golden, const std::string& mlp,
                                 const char* gate, const char* up, const char* down) {
  const ModelFolder source = load_model_folder(golden_folder(golden));
  const ModelConfig& c = source.model->config();
  const SafetensorsFolder files(source.path);
  std::vector<TensorSource> tensors;
  for (const TensorSource& t : tensors_of(source.path))
    if (t.name.find(".experts.") == std::string::npos)
      tensors.push_back({.name = t.name.find(".gate.weight") == std::string::npos
                                     ? t.name
                                     : t.name.substr(0, t.name.find(mlp)) + "mlp.gate.weight",
                         .dtype = t.dtype,
                         .shape = t.shape,
                         .content = t.content});
  for (const LayerConfig& layer : source.model->layers()) {
    if (!layer.moe) continue;
    const int64_t E = c.moe.n_experts, F = c.moe.d_ff, D = c.d_model;
    const Tensor gate_up = Tensor::empty({E, 2 * F, D}, DType::f32),
                 downs = Tensor::empty({E, D, F}, DType::f32);
    for (int64_t e = 0; e < E; ++e) {
      const std::string stem = str("model.layers.", layer.index, ".", mlp, ".experts.", e, ".");
      auto put = [&](const Tensor& to, int64_t at, const char* name) {
        const Tensor t = files.tensor(stem + name + ".weight");
        std::memcpy(to.raw() + at * 4, t.raw(), size_t(t.stored_bytes()));
      };
      put(gate_up, e * 2 * F * D, gate);
      put(gate_up, (e * 2 + 1) * F * D, up);
      put(downs, e * D * F, down);
    }
    const std::string stem = str("model.layers.", layer.index, ".mlp.experts.");
    tensors.push_back(tensor_source(stem + "gate_up_proj", gate_up));
    tensors.push_back(tensor_source(stem + "down_proj", downs));
  }
  const ScratchFolder folder;
  put_folder(folder, golden, tensors);
  expect_same_model(*load_model_folder(folder.path()).model, *source.model);
}

TEST(WeightForms, StackedExpertsOfQwen3Moe) {
  expect_stacked_experts_read("qwen3moe", "mlp", "gate_proj", "up_proj", "down_proj");
}
TEST(WeightForms, StackedExpertsOfMixtral) {
  expect_stacked_experts_read("mixtral", "block_sparse_moe", "w1", "w3", "w2");
}

TEST(WeightForms, ThePublicGpt2FileHasNoPrefixAndCarriesMasks) {
  const ModelFolder source = load_model_folder(golden_folder("gpt2"));
  std::vector<TensorSource> tensors = tensors_of(source.path);
  for (TensorSource& t : tensors) t.name = t.name.substr(std::string("transformer.").size());
  tensors.push_back(tensor_source("h.0.attn.bias", Tensor::zeros({1, 1, 64, 64}, DType::f32)));
  tensors.push_back(tensor_source("h.0.attn.masked_bias", Tensor::zeros({1}, DType::f32)));
  const ScratchFolder folder;
  put_folder(folder, "gpt2", tensors);
  expect_same_model(*load_model_folder(folder.path()).model, *source.model);
}

TEST(WeightForms, NarrowTypesAreWidened) {
  for (const DType narrow : {DType::bf16, DType::f16}) {
    SCOPED_TRACE(dtype_name(narrow));
    const std::string golden = golden_folder("gpt2");
    const SafetensorsFolder files(golden);
    std::vector<TensorSource> narrowed, widened;
    for (const SafetensorsFolder::Item& item : files.items()) {
      const Tensor t = files.tensor(item.entry->name).to(narrow);
      narrowed.push_back(tensor_source(item.entry->name, t));
      widened.push_back(tensor_source(item.entry->name, t.to(DType::f32)));
    }
    const ScratchFolder a, b;
    put_folder(a, "gpt2", narrowed);
    put_folder(b, "gpt2", widened);
    expect_same_model(*load_model_folder(a.path()).model, *load_model_folder(b.path()).model);
  }
}

TEST(WeightForms, NanIsLoadedAsItIs) {
  const SafetensorsFolder files(golden_folder("llama"));
  std::vector<TensorSource> tensors = tensors_of(golden_folder("llama"));
  const Tensor norm = files.tensor("model.norm.weight");
  norm.data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  for (TensorSource& t : tensors)
    if (t.name == "model.norm.weight") t = tensor_source(t.name, norm);
  const ScratchFolder folder, copy;
  put_folder(folder, "llama", tensors);
  write_folder(copy, *load_model_folder(folder.path()).model);
  expect_same_tensors(folder.path(), copy.path());
}

TEST(WeightForms, ATiedModelMayCarryAnEqualHeadButNoOther) {
  const SafetensorsFolder files(golden_folder("qwen2"));
  const Tensor table = files.tensor("model.embed_tokens.weight");
  std::vector<TensorSource> tensors = tensors_of(golden_folder("qwen2"));
  tensors.push_back(tensor_source("lm_head.weight", table));
  const ScratchFolder equal, other;
  put_folder(equal, "qwen2", tensors);
  EXPECT_NO_THROW(load_model_folder(equal.path()));
  const Tensor changed = table.clone();
  changed.data<float>()[0] += 1;
  tensors.back() = tensor_source("lm_head.weight", changed);
  put_folder(other, "qwen2", tensors);
  EXPECT_THROW(load_model_folder(other.path()), Error);
}

// ---- our own models ----------------------------------------------------------------------------

std::string written_as(const ModelConfig& config) {
  const TransformerLM model(config);
  fill_random(model);
  const ScratchFolder folder;
  write_folder(folder, model);
  const ModelFolder again = load_model_folder(folder.path());
  expect_same_model(*again.model, model);
  const std::vector<int32_t> ids = {1, 7, 3, 3, 49, 0, 12};
  EXPECT_TRUE(same_bits(logits_of(*again.model, ids), logits_of(model, ids)));
  return again.model_type;
}

TEST(OwnModels, TheDefaultMixtureOfExpertsIsAQwen3Moe) {
  EXPECT_EQ(written_as(small_moe()), "qwen3_moe");
  ModelConfig c = small_moe();
  c.moe.layers = "[1]";
  c.moe.norm_topk_prob = false;
  c.dropout = 0.25;
  EXPECT_EQ(written_as(c), "qwen3_moe");
  ModelConfig defaults;
  defaults.vocab_size = 256;
  defaults.has_moe = true;
  EXPECT_EQ(family_for(defaults).model_type, std::string("qwen3_moe"));
}

// Keys of training that a foreign config.json has no words for come back all the same.
TEST(OwnModels, TheFormOfTheBalanceLossTravelsInEveryFormat) {
  for (const char* loss : {"switch_sequence", "hf", "cv2"}) {
    ModelConfig c = small_moe();
    c.moe.balance_loss = loss;
    c.moe.router_l2_weight = 0.25;
    c.moe.n_devices = 5;
    c.moe.device_loss_weight = 0.5;
    c.moe.communication_loss_weight = 0.125;
    c.moe.expert_dropout = 0.1;
    c.moe.router_noise = 0.2;
    c.moe.uniform_start_steps = 7;
    c.moe.router_warmup_steps = 9;
    EXPECT_EQ(written_as(c), "qwen3_moe");
    const JsonObject written = family_for(c).write_config(c).config;
    EXPECT_DOUBLE_EQ(written.at("router_aux_loss_coef").as_double(),
                     c.moe.aux_loss_weight / (c.moe.balance_loss == "hf" ? 1 : 2));
  }
}

TEST(OwnModels, DenseOnesAreQwen3OrLlamaOrGpt2) {
  ModelConfig c = small_dense();
  EXPECT_EQ(written_as(c), "qwen3");
  c.qk_norm = "false";
  EXPECT_EQ(written_as(c), "llama");
  c.norm = "layer_norm";
  c.bias = true;
  c.position = "learned";
  c.activation = "gelu_tanh";
  c.n_kv_heads = 4;
  c.head_dim = 6;
  EXPECT_EQ(written_as(c), "gpt2");
}

TEST(OwnModels, WhatNoFamilyExpressesIsWrittenAsMoeCppAndReadsBackEqual) {
  std::vector<ModelConfig> configs;
  auto add = [&](ModelConfig base, auto change) {
    change(base);
    configs.push_back(base);
  };
  for (const char* position : {"sinusoidal", "alibi", "t5", "shaw", "none", "learned"})
    add(small_moe(), [&](ModelConfig& c) { c.position = position; });
  add(small_moe(), [](ModelConfig& c) { c.moe.n_shared_experts = 2; });
  add(small_moe(), [](ModelConfig& c) {
    c.ngram_order = 3;
    c.ngram_buckets = 10;
  });
  add(small_moe(), [](ModelConfig& c) {
    c.moe.n_shared_experts = 1;
    c.moe.shared_d_ff = 7;
    c.moe.shared_gate = true;
  });
  add(small_moe(), [](ModelConfig& c) { c.moe.softmax = "after_topk"; });
  add(small_moe(), [](ModelConfig& c) {
    c.moe.router = "sigmoid_bias";
    c.moe.n_experts = 6;
    c.moe.n_group = 3;
    c.moe.topk_group = 2;
    c.moe.routed_scaling_factor = 2.5;
    c.moe.bias_update_rate = 0.003;
  });
  add(small_moe(), [](ModelConfig& c) { c.moe.router = "expert_choice"; });
  add(small_moe(), [](ModelConfig& c) {
    c.moe.router = "longcat";
    c.moe.n_identity_experts = 3;
  });
  add(small_moe(), [](ModelConfig& c) {
    c.moe.router = "moe_pp";
    c.moe.n_identity_experts = 1;
    c.moe.zero_computation_weight = 0.5;
  });
  add(small_moe(), [](ModelConfig& c) {
    c.moe.router = "top_p";
    c.moe.target_experts = 2;
  });
  for (const char* kind : {"linear", "mlp_relu", "mlp_gelu"})
    add(small_moe(), [&](ModelConfig& c) {
      c.moe.expert = kind;
      c.moe.n_shared_experts = 1;
    });
  add(small_moe(), [](ModelConfig& c) { c.moe.expert_bias = true; });
  add(small_moe(), [](ModelConfig& c) {
    c.sliding_window = 4;
    c.window_layers = "every:2";
  });
  add(small_moe(), [](ModelConfig& c) { c.bias = true; });
  add(small_moe(), [](ModelConfig& c) { c.layer_scale = 0.125; });
  add(small_moe(), [](ModelConfig& c) { c.attention_sink = true; });
  add(small_moe(), [](ModelConfig& c) { c.attention_softcap = 3.5; });
  add(small_dense(), [](ModelConfig& c) { c.activation = "relu"; });
  add(small_dense(), [](ModelConfig& c) { c.norm = "layer_norm"; });
  add(small_dense(), [](ModelConfig& c) { c.qk_norm = "per_row"; });
  add(small_dense(), [](ModelConfig& c) { c.mlp_bias = true; });
  for (const ModelConfig& config : configs) {
    EXPECT_EQ(written_as(config), "moe_cpp") << why_own_format(config);
    const JsonObject written = kMoeCpp.write_config(config).config;
    for (const char* family : {"llama", "qwen3_moe", "gpt2"})
      EXPECT_NE(written.at("why_moe_cpp").as_string().find(family), std::string::npos);
  }
}

// transformers refuses a Llama whose hidden_size is no multiple of its heads.
TEST(OwnModels, ALlamaThatTransformersRefusesIsWrittenAsMoeCpp) {
  ModelConfig c = small_dense();
  c.qk_norm = "false";
  c.n_heads = 5;
  c.n_kv_heads = 1;
  EXPECT_EQ(written_as(c), "moe_cpp");
}

}  // namespace
}  // namespace moe
