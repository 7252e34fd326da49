// SPDX-License-Identifier: MIT
// Conversations as text: the templates of model families by name, written for this program, and the
// conversation in the form that a template expects.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "moe/base/json.h"
#include "moe/text/jinja/template.h"

namespace moe {

struct BuiltInTemplate {
  std::string name, source;
};
/// One for each family; chatml first.
const std::vector<BuiltInTemplate>& built_in_templates();
/// The source by name; nullopt when there is none of that name.
std::optional<std::string_view> find_built_in_template(std::string_view name);

struct ChatOptions {
  std::string bos_token = {}, eos_token = {};
  double now = 0;  // seconds since 1970, UTC
  /// Arguments of tool calls that are JSON texts, as clients send them, become objects (many
  /// templates would quote them twice), and the text parts of a content list one text.
  bool tidy = false;
};

/// Renders a context {messages, tools, add_generation_prompt (true unless given), ...}. Every text
/// in messages and tools is marked as content, that of assistant turns as the assistant's. The
/// context may hold bos_token, eos_token and now ("2026-01-02", or with "T12:00:00"), which win
/// over options. Throws Error for a context without messages, or with one that is no object.
Rendered render_chat(const ChatTemplate& chat_template, const Json& context,
                     const ChatOptions& options, bool needs_messages = true);

}  // namespace moe
