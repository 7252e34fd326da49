// SPDX-License-Identifier: MIT
// Chat templates against jinja2: tests/golden/templates.json (tools/make_template_golden.py) holds
// a template for every statement, filter, test and method, and the built-in ones with
// conversations. And hostile templates, which must end.
#include "moe/text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/json.h"
#include "moe/text/jinja/template.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Rendered render(std::string_view source, const std::string& context = "{}") {
  return render_chat(ChatTemplate(source, "[template] x"), parse_json(context, "context", 16), {},
                     false);
}
std::string failure(std::string_view source, const std::string& context = "{}") {
  return error_of([&] { render(source, context); });
}

TEST(ChatTemplate, EqualsJinja2) {
  const Json golden = parse_json(read_file(MOE_GOLDEN_DIR "/templates.json"), "[golden]", 16);
  int64_t n = 0, n_errors = 0;
  for (const Json& item : golden.at("cases").as_array()) {
    const JsonObject& c = item.as_object();
    const bool built_in = c.contains("name");
    const std::string label(built_in ? c.at("name").as_string() : c.at("template").as_string());
    const std::string source(built_in ? *find_built_in_template(label) : std::string_view(label));
    Json context = built_in ? c.at("context") : golden.at("context");
    context.as_object()["now"] = "2026-01-02";
    std::string got, error;
    try {
      got = render_chat(ChatTemplate(source, "[template]"), context, {}, built_in).text.bytes;
    } catch (const Error& e) {
      error = e.what();
    }
    if (c.contains("error")) {
      EXPECT_THAT(error, HasSubstr(std::string(c.at("error").as_string()))) << label;
      EXPECT_THAT(error, Not(HasSubstr("\n"))) << label;
      ++n_errors;
    } else {
      EXPECT_EQ(error, "") << label;
      EXPECT_EQ(got, std::string_view(c.at("render").as_string())) << label;
    }
    ++n;
  }
  EXPECT_GT(n, 300);
  EXPECT_GT(n_errors, 30);
}

TEST(ChatTemplate, NamesTheLineOfAnError) {
  EXPECT_THAT(failure("a\nb\n{{ missing.x }}"), HasSubstr("[template] x line 3: UndefinedError"));
  EXPECT_THAT(failure("\n{% for x in [1] %}\n{{ 1 + 'a' }}{% endfor %}"),
              HasSubstr("line 3: TypeError"));
  EXPECT_THAT(failure("\n\n{% if %}"), HasSubstr("line 3: TemplateSyntaxError"));
  EXPECT_THAT(failure("{% if true %}\n{{ x|nofilter }}{% endif %}"),
              HasSubstr("line 2: TemplateAssertionError: No filter named 'nofilter'"));
}

TEST(ChatTemplate, HostileTemplatesEnd) {
  const char* kHostile[] = {
      // loops
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% for a in range(99999) %}{{ 'x' * 10000 }}{% endfor %}",
      // doubling
      "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
      "{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = n.l + n.l %}{% endfor %}",
      "{% set n = namespace(l=[1]) %}{% for i in range(90) %}{% set n.l = [n.l, n.l] %}{% endfor "
      "%}{{ n.l }}",
      "{% set n = namespace(a=[1], b=[1]) %}{% for i in range(90) %}{% set n.a = [n.a, n.a] %}{% "
      "set n.b = [n.b, n.b] %}{% endfor %}{{ n.a == n.b }}",
      "{{ 'x' * 999999999999 }}",
      "{{ [1] * 999999999999 }}",
      "{{ 'x'|indent(999999999) * 99999999 }}",
      "{{ ('a' * 4000000)|replace('', 'bbbbbbbbbb') }}",
      "{{ ('a' * 9000000)|list }}",
      // recursion
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f(n) %}{{ g(n) }}{% endmacro %}{% macro g(n) %}{{ f(n + 1) }}{{ f(n) }}{% endmacro "
      "%}{{ f(0) }}",
      "{% set n = namespace(l=[]) %}{% for i in range(99999) %}{% set n.l = [n.l] %}{% endfor %}{{ "
      "n.l }}",
      "{% set n = namespace() %}{% set n.self = n %}{{ n }}",
      "{% set n = namespace() %}{% set n.l = [n] %}{{ n.l }}",
      "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{% call m() %}{{ caller() }}{% "
      "endcall %}{% endcall %}",
  };
  for (const char* source : kHostile) EXPECT_NE(failure(source), "") << source;
  EXPECT_NE(failure("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}"), "");
  EXPECT_NE(failure("{{ " + std::string(100000, '-') + "1 }}"), "");
  EXPECT_NE(failure("{{ " + std::string(100000, '[') + " }}"), "");
  std::string nested;
  for (int i = 0; i < 5000; ++i) nested += "{% if true %}";
  EXPECT_NE(failure(nested), "");
  std::string nots = "{{ ";
  for (int i = 0; i < 50000; ++i) nots += "not ";
  EXPECT_NE(failure(nots + "1 }}"), "");
  for (const char* link : {"|string", ".a", "[0]", " + 1", "()", " if 1", " is none", " or 1"}) {
    std::string chain = "{{ 1";
    for (int i = 0; i < 300'000; ++i) chain += link;
    EXPECT_NE(failure(chain + " }}"), "") << link;
  }
}

TEST(ChatTemplate, NumbersAtTheEndsOfTheirRange) {
  const std::string least = "{% set n = -9223372036854775807 - 1 %}";
  EXPECT_EQ(render("{{ range(0, 9223372036854775807, 9223372036854775806)|list }}").text.bytes,
            "[0, 9223372036854775806]");
  EXPECT_EQ(render("{{ range(9223372036854775805, 9223372036854775807)|list|length }}").text.bytes,
            "2");
  EXPECT_EQ(render(least + "{{ range(0, n, n)|list }}").text.bytes, "[0]");
  EXPECT_EQ(render(least + "{{ n is divisibleby(-1) }}{{ 'abc'[::n] }}{{ n|abs > 0 }}").text.bytes,
            "TruecTrue");
  EXPECT_EQ(render(least + "{{ n // -1 }}").text.bytes, "9.223372036854776e+18");
}

TEST(ChatTemplate, EveryByteKnowsWhereItCameFrom) {
  const std::string context = R"({"messages": [{"role": "user", "content": "  <x> & you "},
                                               {"role": "assistant", "content": "me"}]})";
  const Rendered r = render_chat(
      ChatTemplate("{% for m in messages %}<x>{{ m.content|trim|upper + '!' }}{% endfor %}", "x"),
      parse_json(context, "context"), {}, true);
  EXPECT_EQ(r.text.bytes, "<x><X> & YOU!<x>ME!");
  std::string marks = r.text.origins;
  for (char& c : marks) c = static_cast<char>('0' + c);
  EXPECT_EQ(marks, "0001111111110000220");
  // What is built from content stays content, whatever is done with it.
  for (const char* source :
       {"{{ c[1:3] }}", "{{ c.split('>')[0] }}", "{{ c|tojson }}", "{{ c|replace('<', '(') }}",
        "{{ [c]|join }}", "{{ '%s' % c }}", "{{ c|title }}", "{{ c ~ c }}", "{{ [c] }}",
        "{{ c|reverse }}", "{% set t %}{{ c }}{% endset %}{{ t }}",
        "{% filter lower %}{{ c }}{% endfilter %}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(c) }}", "{{ '{}'.format(c) }}"}) {
    const Rendered made = render(source, R"({"c": "<a>b"})");
    EXPECT_EQ(made.text.origins.size(), made.text.bytes.size()) << source;
    EXPECT_NE(made.text.origin(), jinja::kTemplate) << source;
  }
}

TEST(ChatTemplate, GenerationBlocksGiveTheirPlaces) {
  const Rendered r =
      render("{% for x in ['a', 'bc'] %}u{% generation %}{{ x }}.{% endgeneration %}{% endfor %}!");
  EXPECT_EQ(r.text.bytes, "ua.ubc.!");
  EXPECT_EQ(r.generated, (std::vector<std::pair<size_t, size_t>>{{1, 3}, {4, 7}}));
  // Each built-in template marks all that an assistant writes, and no more.
  const std::string chat = R"({"messages": [{"role": "user", "content": "question"},
      {"role": "assistant", "content": "answer"}], "add_generation_prompt": false,
      "bos_token": "<BOS>", "eos_token": "<EOS>"})";
  for (const BuiltInTemplate& t : built_in_templates()) {
    const Rendered made = render_chat(ChatTemplate(t.source, t.name), parse_json(chat, "chat"), {});
    ASSERT_EQ(made.generated.size(), 1u) << t.name;
    const auto [begin, end] = made.generated[0];
    EXPECT_THAT(made.text.bytes.substr(begin, end - begin), HasSubstr("answer")) << t.name;
    EXPECT_THAT(made.text.bytes.substr(begin, end - begin), Not(HasSubstr("question"))) << t.name;
  }
}

TEST(ChatTemplate, TidyMakesObjectsOfArgumentsAndTextsOfParts) {
  const std::string chat =
      R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{\"x\": 1}"}}]}]})";
  const ChatTemplate t(
      "{{ messages[0].content }} {{ messages[1].tool_calls[0].function.arguments|tojson }}", "x");
  EXPECT_EQ(render_chat(t, parse_json(chat, "chat"), {.tidy = true}).text.bytes, R"(ab {"x": 1})");
  EXPECT_THAT(render_chat(t, parse_json(chat, "chat"), {}).text.bytes,
              HasSubstr(R"("{\"x\": 1}")"));
}

TEST(ChatTemplate, RefusesAContextThatIsNone) {
  const ChatTemplate t("{{ messages|length }}", "x");
  const auto error = [&](const std::string& context) {
    return error_of([&] { render_chat(t, parse_json(context, "context"), {}); });
  };
  EXPECT_THAT(error("[]"), HasSubstr("no JSON object"));
  EXPECT_THAT(error("{}"), HasSubstr("no 'messages'"));
  EXPECT_THAT(error(R"({"messages": 1})"), HasSubstr("no list"));
  EXPECT_THAT(error(R"({"messages": ["a"]})"), HasSubstr("message 1 is no object"));
  EXPECT_THAT(error(R"({"messages": [{"role": "user"}, {"content": "a"}]})"),
              HasSubstr("message 2 has no 'role'"));
  EXPECT_THAT(error(R"({"messages": [], "now": "soon"})"), HasSubstr("now is 'soon'"));
}

}  // namespace
}  // namespace moe
