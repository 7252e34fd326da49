// SPDX-License-Identifier: MIT
// Folders that lie: every one gives one line of Error, or a model, and memory stays within 4x the
// files + 1 MiB.
#include <random>

#include "moe/families/weights.h"

#include "tests/base/allocation_peak.h"
#include "tests/families/model_testing.h"
#include "tests/families/oracle.h"

namespace moe {
namespace {

// Loads and expects one line of Error and bounded memory; returns the line, "" when it loads.
std::string load_error(const ScratchFolder& folder, bool weights = true) {
  uint64_t file_bytes = 0;
  for (const std::string& name : list_directory(folder.path()))
    file_bytes += file_size(folder / name);
  reset_tensor_bytes_peak();
  const int64_t tensors_before = tensor_bytes_in_use();
  const AllocationPeak peak;
  std::string message;
  try {
    if (weights)
      load_model_folder(folder.path());
    else
      read_model_config(folder.path());
  } catch (const Error& e) {
    message = e.what();
  }
  const uint64_t used = peak.bytes() + uint64_t(tensor_bytes_peak() - tensors_before);
  EXPECT_LE(used, 4 * file_bytes + (1 << 20)) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_LT(message.size(), 1000u) << message;
  return message;
}

JsonObject golden_config(const std::string& name, const std::string& file = "config.json") {
  return read_json(join_path(golden_folder(name), file), "[test]").as_object();
}

std::vector<TensorSource> golden_tensors(const std::string& name) {
  const SafetensorsFile file(join_path(golden_folder(name), "model.safetensors"));
  std::vector<TensorSource> out;
  for (const SafetensorsEntry& entry : file.entries())
    out.push_back(tensor_source(entry.name, file.tensor(entry)));
  return out;
}

TEST(HostileConfig, EveryTruncationIsOneError) {
  for (const char* name : {"gpt2", "llama-rope3", "qwen3moe"}) {
    const std::string text = read_file(join_path(golden_folder(name), "config.json"));
    const ScratchFolder folder;
    for (size_t n = 0; n + 2 < text.size(); ++n) {  // the last two: "}" and a new line
      folder.put("config.json", text.substr(0, n));
      EXPECT_NE(load_error(folder, false), "") << "cut at " << n;
    }
  }
}

TEST(HostileConfig, RandomFlipsGiveAnErrorOrAModel) {
  std::mt19937_64 random(7);
  for (const char* name : {"gpt2", "llama-rope3", "mixtral", "qwen3moe"}) {
    const std::string text = read_file(join_path(golden_folder(name), "config.json"));
    const ScratchFolder folder;
    folder.copy(join_path(golden_folder(name), "model.safetensors"), "model.safetensors");
    for (int flip = 0; flip < 2500; ++flip) {
      std::string damaged = text;
      for (uint64_t i = 0; i <= random() % 4; ++i)
        damaged[random() % damaged.size()] ^= char(1 + random() % 255);
      folder.put("config.json", damaged);
      load_error(folder);
    }
  }
}

// Every number of every family's config.json replaced by absurd ones.
TEST(HostileConfig, AbsurdValuesAreRefusedBeforeAnythingIsAllocated) {
  for (const std::string& name : oracle_names()) {
    const ScratchFolder folder;
    folder.copy(join_path(golden_folder(name), "model.safetensors"), "model.safetensors");
    for (const char* file : {"config.json", "config_v4.json"}) {
      const JsonObject config = golden_config(name, file);
      for (const auto& entry : config) {
        for (const char* value :
             {"0", "-1", "3", "1099511627776", "1000000000", "16777215", "9223372036854775807",
              "1e308", "1e-308", "1.5", "\"x\"", "[]", "{}", "true", "null"}) {
          JsonObject changed = config;
          changed[entry.key()] = parse_json(value, "[test]");
          folder.put("config.json", to_json_line(changed));
          load_error(folder);
        }
      }
    }
  }
}

TEST(HostileConfig, SizesOfAHugeModelAreRefusedWithTheCause) {
  const ScratchFolder folder;
  folder.copy(join_path(golden_folder("mixtral"), "model.safetensors"), "model.safetensors");
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads", "head_dim",
                          "vocab_size", "intermediate_size", "num_local_experts"})
    for (const int64_t value :
         {int64_t{0}, int64_t{-4}, int64_t{1} << 40, int64_t{1'000'000'000}, int64_t{4096}}) {
      JsonObject config = golden_config("mixtral");
      config[key] = value;
      folder.put("config.json", to_json_line(config));
      EXPECT_NE(load_error(folder), "") << key << " = " << value;
    }
}

// Layers that there are not: no memory for them.
TEST(HostileConfig, AListOfLayersMayNameAnyNumbers) {
  const ScratchFolder folder;
  JsonObject config = golden_config("qwen3moe");
  JsonArray layers = {0};
  for (int64_t i = 0; i < 100'000; ++i) layers.push_back(i * 3 - 70'000);
  config["mlp_only_layers"] = layers;
  folder.put("config.json", to_json_line(config));
  EXPECT_EQ(load_error(folder, false), "");
  const ModelConfig model = read_model_config(folder.path());
  for (const LayerConfig& layer : resolve_layers(model))
    EXPECT_EQ(layer.moe, layer.index != 0 && (layer.index + 70'000) % 3 != 0) << layer.index;
}

TEST(HostileConfig, OurOwnFormatTakesNoAbsurdSizeEither) {
  const ScratchFolder folder;
  ModelConfig c = small_moe();
  c.position = "sinusoidal";
  const TransformerLM model(c);
  write_folder(folder, model);
  const JsonObject config = read_json(folder / "config.json", "[test]").as_object();
  ASSERT_EQ(load_error(folder), "");
  for (const auto& entry : config.at("model").as_object())
    for (const char* value : {"0", "-1", "1099511627776", "16777216", "1e300", "\"x\"", "[]", "{}",
                              "\"all\\nb: 1\"", "null"}) {
      JsonObject changed = config;
      changed["model"].as_object()[entry.key()] = parse_json(value, "[test]");
      folder.put("config.json", to_json_line(changed));
      load_error(folder);
    }
}

// A matrix with one output row takes 16 rows of memory.
TEST(HostileWeights, PaddingIsPartOfTheBound) {
  const ScratchFolder folder;
  JsonObject config = golden_config("llama");
  const int64_t wide = 1 << 18;
  config["hidden_size"] = config["num_attention_heads"] = config["num_key_value_heads"] = 1;
  config["num_hidden_layers"] = 1;
  config["intermediate_size"] = wide;
  config["vocab_size"] = 1;
  config["head_dim"] = 2;
  folder.put("config.json", to_json_line(config));
  folder.put_tensors({tensor_source("numbers", Tensor::zeros({4 * wide}, DType::bf16))});
  EXPECT_NE(load_error(folder), "");
}

std::string error_with(const std::string& golden, const std::vector<TensorSource>& tensors) {
  const ScratchFolder folder;
  folder.copy(join_path(golden_folder(golden), "config.json"), "config.json");
  folder.put_tensors(tensors);
  return load_error(folder);
}

TEST(HostileWeights, AMissingTensorIsNamed) {
  std::vector<TensorSource> tensors = golden_tensors("qwen3moe");
  const std::string name = "model.layers.0.mlp.experts.5.up_proj.weight";
  std::erase_if(tensors, [&](const TensorSource& t) { return t.name == name; });
  // As many numbers as before, so that the count alone does not show it.
  tensors.push_back(tensor_source("model.extra.weight", Tensor::zeros({12, 32}, DType::f32)));
  const std::string error = error_with("qwen3moe", tensors);
  EXPECT_NE(error.find(name), std::string::npos) << error;
  EXPECT_NE(error.find("model.extra.weight"), std::string::npos) << error;
}

TEST(HostileWeights, ANameWithControlCharactersStaysOneLine) {
  std::vector<TensorSource> tensors = golden_tensors("llama");
  tensors.push_back(
      tensor_source("a\nb\x1b[2J" + std::string(200, 'x'), Tensor::zeros({1}, DType::f32)));
  EXPECT_NE(error_with("llama", tensors).find("unexpected: a\\x0Ab"), std::string::npos)
      << error_with("llama", tensors);
}

TEST(HostileWeights, ATensorOfAnotherShapeOrTypeIsNamed) {
  const std::string name = "model.layers.1.self_attn.k_proj.weight";
  const std::vector<Tensor> wrong = {
      Tensor::zeros({48, 32}, DType::f32),    Tensor::zeros({32 * 48}, DType::f32),
      Tensor::zeros({1, 32, 48}, DType::f32), Tensor::zeros({1, 1, 32, 48}, DType::f32),
      Tensor::zeros({33, 48}, DType::f32),    Tensor::zeros({32, 48}, DType::i64),
      Tensor::zeros({32, 48}, DType::u8),     Tensor::zeros({32, 48}, DType::boolean)};
  for (const Tensor& other : wrong) {
    std::vector<TensorSource> tensors = golden_tensors("llama");
    for (TensorSource& t : tensors)
      if (t.name == name) {
        ASSERT_EQ(t.shape.text(), "[32, 48]");
        t = tensor_source(name, other);
      }
    tensors.push_back(tensor_source("rotary_emb.inv_freq", Tensor::zeros({4096}, DType::f32)));
    const std::string error = error_with("llama", tensors);
    EXPECT_NE(error.find(name), std::string::npos) << other.shape().text() << ": " << error;
  }
}

TEST(HostileWeights, StacksWithMoreExpertsThanTheConfigAreRefused) {
  const ModelConfig c = read_model_config(golden_folder("mixtral"));
  std::vector<TensorSource> tensors;
  for (const TensorSource& t : golden_tensors("mixtral"))
    if (t.name.find(".experts.") == std::string::npos) tensors.push_back(t);
  for (int64_t layer = 0; layer < c.n_layers; ++layer) {
    const std::string stem = str("model.layers.", layer, ".mlp.experts.");
    tensors.push_back(tensor_source(stem + "gate_up_proj",
                                    Tensor::zeros({7, 2 * c.moe.d_ff, c.d_model}, DType::f32)));
    tensors.push_back(
        tensor_source(stem + "down_proj", Tensor::zeros({6, c.d_model, c.moe.d_ff}, DType::f32)));
  }
  const std::string error = error_with("mixtral", tensors);
  EXPECT_NE(error.find("gate_up_proj"), std::string::npos) << error;
}

TEST(HostileWeights, AnEmptyFolderAFileAndNothingAtAll) {
  const ScratchFolder folder;
  EXPECT_NE(load_error(folder), "");
  folder.put("config.json", "{}");
  EXPECT_NE(load_error(folder), "");
  folder.copy(join_path(golden_folder("llama"), "config.json"), "config.json");
  EXPECT_NE(load_error(folder).find("model.safetensors"), std::string::npos);
  folder.put("model.safetensors", "");
  EXPECT_NE(load_error(folder), "");
  EXPECT_THROW(load_model_folder(folder / "config.json"), Error);
  EXPECT_THROW(load_model_folder(folder / "absent"), Error);
}

// Without reading a weight: config.json of another model beside the files of this one.
TEST(HostileWeights, AConfigOfAnotherModelIsSeenByItsNumbersAlone) {
  auto error_of_sizes = [](const std::string& golden, const JsonObject& config) {
    const ScratchFolder folder;
    folder.copy(join_path(golden_folder(golden), "model.safetensors"), "model.safetensors");
    folder.put("config.json", to_json_line(config));
    try {
      check_weights_match(folder.path(), read_model_config(folder.path()),
                          find_family(std::string(config.at("model_type").as_string()), ""));
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  for (const std::string& name : oracle_names()) {
    JsonObject config = golden_config(name);
    EXPECT_EQ(error_of_sizes(name, config), "") << name;
    const char* layers = config.contains("n_layer") ? "n_layer" : "num_hidden_layers";
    for (const int64_t change : {-1, 1}) {
      JsonObject other = config;
      other[layers] = config.at(layers).as_int64() + change;
      if (other.contains("layer_types")) {
        JsonArray types;
        for (int64_t i = 0; i < other.at(layers).as_int64(); ++i) types.push_back("full_attention");
        other["layer_types"] = types;
      }
      EXPECT_NE(error_of_sizes(name, other).find("belong together"), std::string::npos)
          << name << " " << change << ": " << error_of_sizes(name, other);
    }
  }
}

TEST(HostileWeights, SelectionBiasesAreBuffersAndNoParameters) {
  const ScratchFolder folder;
  ModelConfig c = small_moe();
  c.moe.router = "sigmoid_bias";
  write_folder(folder, TransformerLM(c));
  check_weights_match(folder.path(), read_model_config(folder.path()), find_family("moe_cpp", ""));
}

}  // namespace
}  // namespace moe
