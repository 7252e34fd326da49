// SPDX-License-Identifier: MIT
#include "moe/text/chat_template.h"

#include <charconv>
#include <chrono>

#include "moe/base/error.h"

namespace moe {

using jinja::Value;

namespace {

/// {"arguments": "{...}"} as clients send it becomes an object: templates print what they find, and
/// a text would be quoted twice.
Json with_object_arguments(const Json& call) {
  const JsonObject* object = call.if_object();
  if (!object) return call;
  JsonObject out;
  for (const auto& [key, value] : *object) {
    const std::string_view name = key;
    if (name == "function") {
      out[key] = with_object_arguments(value);
      continue;
    }
    out[key] = value;
    if (name != "arguments" || !value.is_string()) continue;
    try {
      Json parsed = parse_json(std::string_view(value.as_string()), "arguments");
      if (parsed.is_object()) out[key] = std::move(parsed);
    } catch (const Error&) {  // no JSON: it stays the text that it is
    }
  }
  return out;
}

/// [{"type": "text", "text": ...}, ...] as one text.
Json flattened(const Json& content) {
  const JsonArray* parts = content.if_array();
  if (!parts) return content;
  std::string text;
  for (const Json& part : *parts) {
    const JsonObject* object = part.if_object();
    const Json* words = object ? object->if_contains("text") : nullptr;
    if (!words || !words->is_string()) return content;
    text += std::string_view(words->as_string());
  }
  return Json(text);
}

Value message_value(const Json& message, size_t index, bool tidy) {
  const JsonObject* object = message.if_object();
  MOE_CHECK(object, "[chat] message ", index + 1, " is no object");
  const Json* role = object->if_contains("role");
  MOE_CHECK(role && role->is_string(), "[chat] message ", index + 1, " has no 'role'");
  const bool assistant = std::string_view(role->as_string()) == "assistant";
  jinja::Dict out;
  for (const auto& [key, value] : *object) {
    const std::string_view name = key;
    Json used = tidy && name == "content" ? flattened(value) : value;
    if (tidy && name == "tool_calls" && value.is_array()) {
      JsonArray calls;
      for (const Json& call : value.as_array()) calls.push_back(with_object_arguments(call));
      used = std::move(calls);
    }
    out.emplace_back(
        Value::of(jinja::Text(std::string(name))),
        jinja::from_json(used, assistant && name != "role" ? jinja::kAssistant : jinja::kContent));
  }
  return Value::of(std::move(out));
}

/// "2026-01-02" or "2026-01-02T03:04:05".
double parse_time(std::string_view text) {
  int parts[6] = {0, 0, 0, 0, 0, 0};
  const char *at = text.data(), *end = at + text.size();
  size_t n = 0;
  for (; n < 6 && at < end; ++n) {
    const auto [rest, error] = std::from_chars(at, end, parts[n]);
    MOE_CHECK(error == std::errc() && parts[n] >= 0 && parts[n] < 10000, "[chat] now is '",
              printable(text, 40), "'; give e.g. 2026-01-02 or 2026-01-02T03:04:05");
    at = rest < end ? rest + 1 : end;
  }
  using namespace std::chrono;
  const year_month_day date{year{parts[0]}, month{unsigned(parts[1])}, day{unsigned(parts[2])}};
  MOE_CHECK(n >= 3 && date.ok() && parts[3] < 24 && parts[4] < 60 && parts[5] < 61,
            "[chat] now is '", printable(text, 40),
            "'; give e.g. 2026-01-02 or 2026-01-02T03:04:05");
  return double(sys_days(date).time_since_epoch().count()) * 86400 + parts[3] * 3600 +
         parts[4] * 60 + parts[5];
}

}  // namespace

Rendered render_chat(const ChatTemplate& chat_template, const Json& context,
                     const ChatOptions& options, bool needs_messages) {
  MOE_CHECK(context.is_object(), "[chat] the context is no JSON object");
  const JsonObject& root = context.as_object();
  MOE_CHECK(root.contains("messages") || !needs_messages, "[chat] the context has no 'messages'");
  jinja::Dict variables;
  const auto add = [&](std::string_view name, Value value) {
    variables.emplace_back(Value::of(jinja::Text(std::string(name))), std::move(value));
  };
  double now = options.now;
  for (const auto& [key, value] : root) {
    const std::string_view name = key;
    if (name == "messages") {
      MOE_CHECK(value.is_array(), "[chat] 'messages' is no list");
      jinja::List messages;
      for (size_t i = 0; needs_messages && i < value.as_array().size(); ++i)
        messages.push_back(message_value(value.as_array()[i], i, options.tidy));
      add(name, needs_messages ? Value::of(std::move(messages))
                               : jinja::from_json(value, jinja::kContent));
    } else if (name == "now" && value.is_string()) {
      now = parse_time(std::string_view(value.as_string()));
    } else {
      const bool marker = ends_with(name, "_token");
      add(name, jinja::from_json(value, marker ? jinja::kTemplate : jinja::kContent));
    }
  }
  if (!root.contains("add_generation_prompt")) add("add_generation_prompt", Value::of(true));
  if (!root.contains("bos_token")) add("bos_token", Value::of(jinja::Text(options.bos_token)));
  if (!root.contains("eos_token")) add("eos_token", Value::of(jinja::Text(options.eos_token)));
  return chat_template.render(Value::of(std::move(variables)), now);
}

}  // namespace moe
