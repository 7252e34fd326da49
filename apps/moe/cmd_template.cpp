// SPDX-License-Identifier: MIT
// moe template: what a model would read of a conversation.
#include <cstdio>
#include <iostream>
#include <memory>

#include "moe/base/clock.h"
#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/text/chat_template.h"
#include "moe/text/tokenizer_files.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

struct Source {
  std::string text, what;
  ChatOptions options = {};
};

/// A name, a folder's template, or a file: a tokenizer_config.json, or the template itself.
Source template_source(const std::string& name) {
  if (const auto built_in = find_built_in_template(name))
    return {std::string(*built_in), str("[template ", name, "]")};
  if (!exists(name)) {
    std::vector<std::string> names;
    for (const BuiltInTemplate& t : built_in_templates()) names.emplace_back(t.name);
    const std::string near = nearest_word(name, names);
    throw Error(str("[template] '", printable(name), "' is neither a file or folder nor one of ",
                    join(names, ", "), near.empty() ? "" : str(". Did you mean ", near, "?")));
  }
  Source out{.text = {}, .what = "[template] " + printable(name)};
  std::string file = name;
  if (is_directory(name)) {
    const std::string jinja = join_path(name, "chat_template.jinja");
    file = exists(jinja) ? jinja : join_path(name, "tokenizer_config.json");
    MOE_CHECK(exists(file), out.what,
              ": no chat_template.jinja and no tokenizer_config.json in it");
  }
  out.text = read_file(file, uint64_t{64} << 20);
  const std::string config =
      ends_with(file, ".json") ? file : join_path(parent_path(file), "tokenizer_config.json");
  if (ends_with(file, ".json") || (is_directory(name) && exists(config))) {
    const Json json = read_json(config, "[tokenizer_config.json] " + printable(config));
    TokenizerSpec spec;
    apply_tokenizer_config(json, spec, "[tokenizer_config.json] " + printable(config));
    if (ends_with(file, ".json")) out.text = spec.chat_template;
    MOE_CHECK(!out.text.empty(), out.what, ": it holds no chat_template");
    const auto token = [&](const char* key) -> std::string {
      const Json* value = json.as_object().if_contains(key);
      if (value && value->is_string()) return std::string(value->as_string());
      const JsonObject* object = value ? value->if_object() : nullptr;
      const Json* content = object ? object->if_contains("content") : nullptr;
      return content && content->is_string() ? std::string(content->as_string()) : "";
    };
    out.options.bos_token = token("bos_token");
    out.options.eos_token = token("eos_token");
  }
  return out;
}

}  // namespace

RunCommand add_template(CLI::App& app) {
  struct Options {
    std::string name, context;
  };
  auto o = std::make_shared<Options>();
  app.require_subcommand(1);
  CLI::App* render =
      app.add_subcommand("render", "The text that a template makes of a conversation");
  render
      ->add_option(
          "--template", o->name,
          "a template file, a folder or tokenizer_config.json with one, or a name: see list")
      ->required();
  render
      ->add_option("--context", o->context,
                   "JSON file with messages and whatever else the template reads; bos_token, "
                   "eos_token and now (2026-01-02) too; - is stdin")
      ->required();
  CLI::App* list = app.add_subcommand("list", "The templates that are built in");
  CLI::App* show = app.add_subcommand("show", "A template's source");
  show->add_option("--template", o->name, "as for render")->required();
  return [=] {
    if (list->parsed()) {
      for (const BuiltInTemplate& t : built_in_templates()) print_line(std::string(t.name));
      return 0;
    }
    Source source = template_source(o->name);
    if (show->parsed()) {
      print_line(source.text);
      return 0;
    }
    const ChatTemplate chat_template(source.text, source.what);
    const std::string what = "[context] " + printable(o->context);
    const Json context =
        o->context == "-"
            ? parse_json(std::string(std::istreambuf_iterator<char>(std::cin), {}), what, 16)
            : parse_json(read_file(o->context, uint64_t{64} << 20), what, 16);
    source.options.now = real_clock().unix_seconds();
    const bool is_chat = context.is_object() && context.as_object().contains("messages") &&
                         context.as_object().at("messages").is_array() &&
                         (context.as_object().at("messages").as_array().empty() ||
                          context.as_object().at("messages").as_array()[0].is_object());
    const Rendered rendered = render_chat(chat_template, context, source.options, is_chat);
    const std::string& text = rendered.text.bytes;
    std::fwrite(text.data(), 1, text.size(), stdout);
    MOE_CHECK(std::fflush(stdout) == 0, "[template] cannot write to stdout");
    return 0;
  };
}

}  // namespace moe
