// SPDX-License-Identifier: MIT
// moe template: what a model would read of a conversation.
#include <cstdio>
#include <iostream>
#include <memory>

#include "moe/base/clock.h"
#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/text/chat_template_files.h"

#include "apps/moe/command.h"

namespace moe {
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
    ChatSource source = find_chat_template(o->name);
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
