// SPDX-License-Identifier: MIT
// config.json: a key that would change the function and is not supported is refused, an absent one
// means what transformers takes it to mean.
#include "tests/families/model_testing.h"
#include "tests/families/oracle.h"

namespace moe {
namespace {

JsonObject golden_config(const std::string& name, const std::string& file = "config.json") {
  return read_json(join_path(golden_folder(name), file), "[test]").as_object();
}

ModelConfig read_changed(const JsonObject& config) {
  const ScratchFolder folder;
  folder.put("config.json", to_json_pretty(config));
  return read_model_config(folder.path());
}

// The error that reading it gives, "" for none.
std::string refusal(const JsonObject& config) {
  try {
    read_changed(config);
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

struct Change {
  const char *golden, *key, *json;
};

TEST(FamilyConfig, KeysThatChangeTheFunctionAreRefused) {
  const std::vector<Change> changes = {
      {"llama", "hidden_act", "\"gelu\""},
      {"llama", "quantization_config", "{\"quant_method\": \"fp8\"}"},
      {"llama", "partial_rotary_factor", "0.5"},
      {"llama", "rope_parameters", "{\"rope_type\": \"yarn\", \"rope_theta\": 1e4, \"factor\": 4}"},
      {"llama", "rope_parameters", "{\"rope_theta\": 1e4, \"partial_rotary_factor\": 0.5}"},
      {"llama", "rope_parameters",
       "{\"full_attention\": {\"rope_theta\": 1e4}, \"sliding_attention\": {\"rope_theta\": 1e3}}"},
      {"llama", "rope_scaling", "{\"type\": \"linear\", \"factor\": 2}"},
      {"llama", "rope_theta", "123"},  // beside rope_parameters that say 500
      {"llama-rope3", "rope_scaling",
       "{\"rope_type\": \"llama3\", \"factor\": 9, \"low_freq_factor\": 1, \"high_freq_factor\": "
       "4, "
       "\"original_max_position_embeddings\": 32}"},
      {"qwen3-window", "layer_types",
       "[\"full_attention\", \"chunked_attention\", \"full_attention\"]"},
      {"qwen3-window", "layer_types", "[\"full_attention\"]"},
      {"olmoe", "clip_qkv", "0.9"},
      {"gpt2", "scale_attn_by_inverse_layer_idx", "true"},
      {"gpt2", "scale_attn_weights", "false"},
      {"gpt2", "add_cross_attention", "true"},
      {"gpt2", "activation_function", "\"tanh\""},
      {"mixtral", "num_experts_per_tok", "7"},
      {"llama", "model_type", "\"deepseek_v3\""},
  };
  for (const auto& [golden, key, json] : changes) {
    JsonObject config = golden_config(golden);
    ASSERT_EQ(refusal(config), "");
    config[key] = parse_json(json, "[test]");
    EXPECT_NE(refusal(config), "") << golden << " with " << key << " = " << json;
  }
}

// Not the first of its keys that is unknown.
TEST(FamilyConfig, AnUnknownRotationIsRefusedByItsName) {
  JsonObject config = golden_config("llama", "config_v4.json");
  config["rope_scaling"] = parse_json(
      R"({"beta_fast": 32, "rope_type": "yarn", "factor": 4, "attention_factor": 1})", "[test]");
  EXPECT_NE(refusal(config).find("rope_type 'yarn' is not supported"), std::string::npos)
      << refusal(config);
}

TEST(FamilyConfig, AnAbsentKeyMeansTheFamilysDefault) {
  auto without = [](const char* golden, const char* key) {
    JsonObject config = golden_config(golden, "config_v4.json");
    config.erase(key);
    return read_changed(config);
  };
  EXPECT_EQ(without("llama", "rms_norm_eps").norm_eps, 1e-6);
  EXPECT_EQ(without("mixtral", "rms_norm_eps").norm_eps, 1e-5);
  EXPECT_EQ(without("olmoe", "rms_norm_eps").norm_eps, 1e-5);
  EXPECT_EQ(without("gpt2", "layer_norm_epsilon").norm_eps, 1e-5);
  EXPECT_EQ(without("llama", "rope_theta").rope_theta, 1e4);
  EXPECT_EQ(without("mixtral", "rope_theta").rope_theta, 1e6);
  EXPECT_EQ(without("llama", "num_key_value_heads").n_kv_heads, 4);
  EXPECT_EQ(without("llama", "head_dim").head_dim, 12);
  EXPECT_EQ(without("qwen3", "head_dim").head_dim, 128);
  EXPECT_EQ(without("gpt2", "n_inner").d_ff, 4 * 48);
  EXPECT_TRUE(without("gpt2", "tie_word_embeddings").tie_embeddings);
  EXPECT_FALSE(without("llama-rope3", "tie_word_embeddings").tie_embeddings);
  EXPECT_EQ(without("qwen3-window", "max_window_layers").window_layers, "[]");  // from layer 28 on
  EXPECT_FALSE(without("qwen3moe", "norm_topk_prob").moe.norm_topk_prob);
}

TEST(FamilyConfig, TheirBalanceLossCountsEveryPickOursOnce) {
  EXPECT_DOUBLE_EQ(read_changed(golden_config("mixtral")).moe.aux_loss_weight, 0.02 * 2);
  EXPECT_EQ(read_changed(golden_config("mixtral")).moe.z_loss_weight, 0);
}

TEST(FamilyConfig, AnEosBeyondTheVocabularyIsNoEos) {
  const ScratchFolder folder;
  JsonObject config = golden_config("gpt2");
  config["eos_token_id"] = JsonArray{50256, 7};
  folder.put("config.json", to_json_pretty(config));
  folder.copy(join_path(golden_folder("gpt2"), "model.safetensors"), "model.safetensors");
  EXPECT_EQ(load_model_folder(folder.path()).eos_ids, (std::vector<int32_t>{7}));
  folder.put("generation_config.json", "{\"eos_token_id\": 9}");  // overrides config.json
  EXPECT_EQ(load_model_folder(folder.path()).eos_ids, (std::vector<int32_t>{9}));
  folder.put("generation_config.json", "{\"eos_token_id\": \"end\"}");
  EXPECT_THROW(load_model_folder(folder.path()), Error);
}

TEST(FamilyConfig, AnUnknownFamilyNamesTheNearest) {
  JsonObject config = golden_config("qwen3moe");
  config["model_type"] = "qwen3moe";
  EXPECT_NE(refusal(config).find("qwen3_moe"), std::string::npos);
}

TEST(FamilyConfig, ALongContextCostsNothingUntilItIsUsed) {
  const ScratchFolder folder;
  JsonObject config = golden_config("llama");
  config["max_position_embeddings"] = 1 << 23;
  folder.put("config.json", to_json_pretty(config));
  folder.copy(join_path(golden_folder("llama"), "model.safetensors"), "model.safetensors");
  reset_tensor_bytes_peak();
  const ModelFolder model = load_model_folder(folder.path());
  EXPECT_TRUE(same_bits(logits_of(*model.model, {1, 2, 3}),
                        logits_of(*load_model_folder(golden_folder("llama")).model, {1, 2, 3})));
  EXPECT_LT(tensor_bytes_peak(), 4 << 20);
}

}  // namespace
}  // namespace moe
