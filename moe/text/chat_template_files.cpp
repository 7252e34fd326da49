// SPDX-License-Identifier: MIT
#include "moe/text/chat_template_files.h"

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/text/tokenizer_files.h"
#include "moe/text/tokenizer_spec.h"

namespace moe {
namespace {

constexpr uint64_t kLargestFile = uint64_t{64} << 20;

/// "<s>", or {"content": "<s>"}.
std::string token_text(const JsonObject& config, const char* key) {
  const Json* value = config.if_contains(key);
  if (value && value->is_string()) return std::string(value->as_string());
  const JsonObject* object = value ? value->if_object() : nullptr;
  const Json* content = object ? object->if_contains("content") : nullptr;
  return content && content->is_string() ? std::string(content->as_string()) : "";
}

/// Takes from a tokenizer_config.json its special tokens, and its template unless there is one.
void read_tokenizer_config(const std::string& path, ChatSource& out) {
  const std::string what = "[tokenizer_config.json] " + printable(path);
  const Json json = read_json(path, what);
  TokenizerSpec spec;
  apply_tokenizer_config(json, spec, what);
  if (out.text.empty()) out.text = spec.chat_template;
  out.options.bos_token = token_text(json.as_object(), "bos_token");
  out.options.eos_token = token_text(json.as_object(), "eos_token");
}

}  // namespace

std::optional<ChatSource> folder_chat_template(const std::string& folder) {
  ChatSource out{.text = {}, .what = "[template] " + printable(folder)};
  const std::string jinja = join_path(folder, "chat_template.jinja"),
                    config = join_path(folder, "tokenizer_config.json");
  if (exists(jinja)) out.text = read_file(jinja, kLargestFile);
  if (exists(config)) read_tokenizer_config(config, out);
  if (out.text.empty()) return std::nullopt;
  return out;
}

ChatSource find_chat_template(const std::string& name) {
  if (const auto built_in = find_built_in_template(name))
    return {std::string(*built_in), str("[template ", name, "]")};
  if (!exists(name)) {
    std::vector<std::string> names;
    for (const BuiltInTemplate& t : built_in_templates()) names.emplace_back(t.name);
    const std::string near = nearest_word(name, names);
    throw Error(str("[template] '", printable(name), "' is neither a file or folder nor one of ",
                    join(names, ", "), near.empty() ? "" : str(". Did you mean ", near, "?")));
  }
  if (is_directory(name)) {
    const std::optional<ChatSource> found = folder_chat_template(name);
    MOE_CHECK(found, "[template] ", printable(name),
              ": no chat_template.jinja and no tokenizer_config.json with a chat_template in it");
    return *found;
  }
  ChatSource out{.text = {}, .what = "[template] " + printable(name)};
  if (ends_with(name, ".json")) {
    read_tokenizer_config(name, out);
    MOE_CHECK(!out.text.empty(), out.what, ": it holds no chat_template");
  } else {
    out.text = read_file(name, kLargestFile);
  }
  return out;
}

}  // namespace moe
