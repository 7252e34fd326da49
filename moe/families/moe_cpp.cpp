// SPDX-License-Identifier: MIT
// Our own model type: every model key as in a configuration file. Written when no other family can
// express the model.
#include "moe/families/families.h"

namespace moe {
namespace {

ModelConfig read(const JsonReader& c) {
  ModelConfig m;
  ConfigTable table;
  bind_model_keys(table, m);
  const Json& model = c.at("model");
  MOE_CHECK(model.is_object(), c.what(), ": 'model' must be an object");
  table.read_yaml(to_json_line(Json(JsonObject{{"model", model}})), c.what());
  m.init_from.clear();
  MOE_CHECK(m.vocab_size > 0, c.what(), ": model.vocab_size is missing");
  return m;
}

// A key's YAML text is JSON but for strings that need no quotes.
Json yaml_value(const ConfigKey& key) {
  const std::string text = key.get();
  const bool is_plain = !starts_with(text, "\"") && !starts_with(text, "[");
  return starts_with(key.type, "string") && is_plain ? Json(text) : parse_json(text, key.path);
}

Family::Written write(const ModelConfig& m) {
  ModelConfig copy = m;
  copy.init_from.clear();
  ConfigTable table;
  bind_model_keys(table, copy);
  JsonObject root;
  for (const ConfigKey& key : table.keys()) {
    if (starts_with(key.path, "model.moe.") && !m.has_moe) continue;
    if (key.path == "model.init_from") continue;
    JsonObject* at = &root;
    const std::vector<std::string> parts = split(key.path, '.');
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      Json& next = (*at)[parts[i]];
      if (!next.is_object()) next = JsonObject();
      at = &next.get_object();
    }
    (*at)[parts.back()] = yaml_value(key);
  }
  JsonObject c;
  c["architectures"] = JsonArray{"MoeCppForCausalLM"};
  c["why_moe_cpp"] = why_own_format(m);
  c["model"] = root["model"];
  return {c, ""};
}

std::vector<TensorPlace> places(const ModelConfig&, const std::string& name) {
  return {{.name = name}};
}

}  // namespace

const Family kMoeCpp = {"moe_cpp", read, write, places};

}  // namespace moe
