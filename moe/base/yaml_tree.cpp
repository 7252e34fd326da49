// SPDX-License-Identifier: MIT
// YAML text to a tree and back to one line.
#include "moe/base/yaml_tree.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <sstream>
#include <utility>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "moe/base/error.h"
#include "moe/base/json.h"
#include "moe/base/str.h"

namespace moe {
namespace {

constexpr size_t kMaxBytes = 1 << 20, kMaxScalarBytes = 64 << 10, kMaxDepth = 16;
// YAML reads no more than 1,024 characters as a key; escaped as \u001C, a character takes six.
constexpr size_t kMaxKeyBytes = 128;
// A list item takes 96 bytes, 3x that while its vector grows: 2,048 of them stay below 1 MiB,
// however short the text. A full configuration has about 100.
constexpr size_t kMaxNodes = 2048;
// yaml-cpp reads what might be a key (a list in brackets, a row of tags) to its end before it says
// anything of it. A token takes up to 240 bytes there (measured), and one more begins at most at
// each of these characters: 4,096 of them stay below 1 MiB.
constexpr std::string_view kIndicators = "[]{},:?&*!%#\"'";
constexpr size_t kMaxIndicators = 4096;

/// Characters that may begin a token. Counted too often rather than too rarely: those of strings
/// are, and those of a comment after a quote, which may end a string that began in a line before.
size_t count_indicators(std::string_view text) {
  size_t n = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\r\n"), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with("---") || line.starts_with("...")) ++n;  // borders of a document
    const size_t first = line.find_first_not_of(" \t");
    if (first != std::string_view::npos && line[first] == '#') {
      ++n;
      line.remove_prefix(std::min(line.find_first_of("\"'"), line.size()));
    }
    n += static_cast<size_t>(std::count_if(line.begin(), line.end(), [](char c) {
      return kIndicators.find(c) != std::string_view::npos;
    }));
  }
  return n;
}

/// Scalars that a YAML 1.1 or 1.2 reader takes for something other than a string.
bool is_reserved_word(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  for (const char* word : {"", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n",
                           "inf", "nan", "infinity"})
    if (lower == word) return true;
  return false;
}

/// Whether the text means the same plain as quoted, in block and in flow context, whatever it is
/// taken for.
bool is_safe_plain(std::string_view text) {
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '/';
  };
  const bool sign_first = text.size() > 1 && (text[0] == '-' || text[0] == '+') && is_word(text[1]);
  if (text.empty() || (!is_word(text[0]) && !sign_first)) return false;
  return text != "..." && std::all_of(text.begin(), text.end(),
                                      [&](char c) { return is_word(c) || c == '-' || c == '+'; });
}

/// Letters first, so that no reader takes it for a number, a date or a special word.
bool is_plain_string(std::string_view text) {
  const bool letter_first =
      !text.empty() && (std::isalpha(static_cast<unsigned char>(text[0])) != 0 || text[0] == '/');
  return letter_first && is_safe_plain(text) && !is_reserved_word(text);
}

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::string what) : what_(std::move(what)) {}
  YamlNode take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    fail(mark, "aliases (*name) are not read here; repeat the value");
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make(YamlNode::Kind::null, mark, "", anchor));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (value.size() > kMaxScalarBytes)
      fail(mark, str("a value of ", value.size(), " bytes, more than ", kMaxScalarBytes));
    YamlNode node = make(YamlNode::Kind::scalar, mark, tag, anchor);
    node.text = value;
    node.quoted = tag == "!";
    add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(make(YamlNode::Kind::list, mark, tag, anchor), mark);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(make(YamlNode::Kind::map, mark, tag, anchor), mark);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    bool has_key = false;  // of a map: the next node is the value of the last member
  };

  [[noreturn]] void fail(const YAML::Mark& mark, std::string_view why) const {
    fail(mark.line + 1, why);
  }
  [[noreturn]] void fail(int line, std::string_view why) const {
    throw Error(str("[config] ", what_, ':', line, ": ", why));
  }

  YamlNode make(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
                YAML::anchor_t anchor) {
    if (anchor != 0) fail(mark, "anchors (&name) are not read here");
    if (tag != "" && tag != "?" && tag != "!")
      fail(mark, str("the tag ", printable(tag, 60), " is not read here"));
    if (++n_nodes_ > kMaxNodes)
      fail(mark, str("more than ", kMaxNodes, " values; this is no configuration"));
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    return node;
  }
  void open(YamlNode node, const YAML::Mark& mark) {
    if (open_.size() >= kMaxDepth) fail(mark, str("nested deeper than ", kMaxDepth));
    open_.push_back({std::move(node)});
  }
  void close() {
    YamlNode node = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(node));
  }
  void add(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::list) {
      parent.node.items.push_back(std::move(node));
    } else if (parent.has_key) {
      parent.node.members.back().value = std::move(node);
      parent.has_key = false;
    } else {
      if (node.kind != YamlNode::Kind::scalar) fail(node.line, "a key must be a plain word");
      if (node.text.size() > kMaxKeyBytes)
        fail(node.line, str("a key of ", node.text.size(), " bytes, more than ", kMaxKeyBytes));
      for (const YamlNode::Member& member : parent.node.members)
        if (member.key == node.text)
          fail(node.line, str("the key \"", printable(node.text, 60),
                              "\" occurs twice, first in line ", member.line));
      parent.node.members.push_back({std::move(node.text), node.line, {}});
      parent.has_key = true;
    }
  }

  std::string what_;
  YamlNode root_;
  std::vector<Open> open_;
  size_t n_nodes_ = 0;
};

}  // namespace

YamlNode parse_yaml(std::string_view text, const std::string& what) {
  const auto fail = [&](std::string_view why) { throw Error(str("[config] ", what, ": ", why)); };
  if (text.size() > kMaxBytes)
    fail(str(text.size(), " bytes, more than ", kMaxBytes, "; this is no configuration"));
  if (const size_t bad = first_invalid_utf8(text); bad != std::string_view::npos)
    fail(str("not valid UTF-8 at byte ", bad));
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos)
    fail(str("a zero byte at offset ", zero));
  if (count_indicators(text) > kMaxIndicators)
    fail(str("more than ", kMaxIndicators, " of the characters ", kIndicators,
             "; this is no configuration"));
  std::istringstream stream{std::string(text)};
  TreeBuilder builder(what);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    YamlNode root = builder.take_root();
    if (parser.HandleNextDocument(builder)) fail("more than one YAML document");
    return root;
  } catch (const YAML::Exception& error) {
    throw Error(str("[config] ", what, ':', error.mark.line + 1, ": ", printable(error.msg)));
  }
}

std::string to_yaml_line(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null: return "null";
    case YamlNode::Kind::scalar: {
      if (!node.quoted && is_safe_plain(node.text)) return node.text;
      return to_json_line(Json(boost::json::string_view(node.text.data(), node.text.size())));
    }
    case YamlNode::Kind::list: break;
    case YamlNode::Kind::map: break;
  }
  std::vector<std::string> parts;
  for (const YamlNode& item : node.items) parts.push_back(to_yaml_line(item));
  for (const auto& member : node.members)
    parts.push_back(yaml_string(member.key) + ": " + to_yaml_line(member.value));
  return str(node.kind == YamlNode::Kind::map ? "{" : "[", join(parts, ", "),
             node.kind == YamlNode::Kind::map ? "}" : "]");
}

std::string yaml_string(std::string_view text) {
  if (is_plain_string(text)) return std::string(text);
  return to_json_line(Json(boost::json::string_view(text.data(), text.size())));
}

std::string yaml_number(double value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value < 0 ? "-.inf" : ".inf";
  std::string text = str(value);
  // YAML 1.1 takes 1e-06 for a string: it wants a point.
  if (const size_t e = text.find('e');
      e != std::string::npos && text.find('.') == std::string::npos)
    text.insert(e, ".0");
  return text;
}

}  // namespace moe
