// SPDX-License-Identifier: MIT
// The part of YAML that a configuration needs, as a tree: scalars, lists and maps. Built from
// yaml-cpp's events rather than its nodes, which keep duplicate keys and follow aliases silently.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moe {

struct YamlNode {
  enum class Kind { null, scalar, list, map };
  struct Member;
  Kind kind = Kind::null;
  int line = 1;
  std::string text;             // of a scalar
  bool quoted = false;          // a quoted scalar is a string whatever it spells
  std::vector<YamlNode> items;  // of a list
  std::vector<Member> members;  // of a map, keys unique, in file order
};
struct YamlNode::Member {
  std::string key;
  int line;
  YamlNode value;
};

/// One document of at most 1 MiB, 16 levels, 2,048 nodes and 64 KiB a scalar, 128 bytes a key; no
/// anchors, aliases or tags; an empty text is null. Throws Error that starts with "[config]
/// what:line: ".
YamlNode parse_yaml(std::string_view text, const std::string& what);

/// One line of YAML that parse_yaml reads back to the same node.
std::string to_yaml_line(const YamlNode& node);
/// A string as a YAML scalar, quoted when it would read as something else.
std::string yaml_string(std::string_view text);
/// Shortest form that reads back to the same double, also for YAML 1.1 readers: 1.0e-06, .inf,
/// .nan.
std::string yaml_number(double value);

}  // namespace moe
