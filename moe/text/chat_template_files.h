// SPDX-License-Identifier: MIT
// Chat templates as people have them: a built-in one by name, a template file, or a model folder.
#pragma once

#include <optional>
#include <string>

#include "moe/text/chat_template.h"

namespace moe {

/// A template's source and what it is called in errors.
struct ChatSource {
  std::string text, what;
  ChatOptions options = {};  // the special tokens that tokenizer_config.json names
};

/// A built-in template's name, a folder with chat_template.jinja or tokenizer_config.json, such a
/// file, or a file that is the template itself. Throws Error that suggests the nearest name.
ChatSource find_chat_template(const std::string& name);

/// The template of a model folder, where it has one.
std::optional<ChatSource> folder_chat_template(const std::string& folder);

}  // namespace moe
