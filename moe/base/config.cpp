// SPDX-License-Identifier: MIT
// The table of configuration keys: reading YAML and overrides into it, and writing it back.
#include "moe/base/config.h"

#include <algorithm>
#include <set>
#include <utility>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/yaml_tree.h"

namespace moe {
namespace {

constexpr std::string_view kTag = "[config] ";
constexpr uint64_t kMaxFileBytes = 1 << 20;

/// Whether path lies inside the group ("" holds everything).
bool is_below(std::string_view path, std::string_view group) {
  if (group.empty()) return true;
  return path.size() > group.size() && path.starts_with(group) && path[group.size()] == '.';
}

std::string last_part(std::string_view path) {
  return std::string(path.substr(path.rfind('.') + 1));
}

std::string below(const std::string& group, const std::string& name) {
  return group.empty() ? name : group + '.' + name;
}

std::string without_tag(std::string_view message) {
  return std::string(message.starts_with(kTag) ? message.substr(kTag.size()) : message);
}

/// A part of a message that names keys: "model.d_ff or model.moe.d_ff".
std::string any_of(std::span<const std::string> paths) {
  return join(paths.first(std::min<size_t>(paths.size(), 4)), " or ");
}

}  // namespace

/// Carries one document into the table.
class ConfigTable::Setter {
 public:
  /// what: of a file, "path"; errors then say path:line.
  Setter(ConfigTable& table, std::string what) : table_(table), what_(std::move(what)) {}

  void apply(const YamlNode& node, const std::string& path, int line) {
    if (const ConfigKey* key = table_.find(path)) return set_key(*key, node, line);
    if (!path.empty() && !table_.is_group(path)) fail(line, table_.unknown_key(path));
    const auto group = std::find_if(table_.groups_.begin(), table_.groups_.end(),
                                    [&](const Group& g) { return g.path == path; });
    if (node.kind == YamlNode::Kind::null) {
      if (group != table_.groups_.end()) table_.switch_off(*group);
      return;
    }
    if (node.kind != YamlNode::Kind::map)
      fail(line, path.empty()
                     ? "expected keys with values, such as `run_dir: runs/a`"
                     : str(path, " is a group of keys, found ", printable(to_yaml_line(node), 60)));
    if (group != table_.groups_.end()) {
      *group->present = true;
      table_.mark_set(path);
    }
    for (const auto& member : node.members)
      apply(member.value, below(path, member.key), member.line);
  }

 private:
  void set_key(const ConfigKey& key, const YamlNode& node, int line) {
    // `model.d_ff: 1` and `model: {d_ff: 2}` are the same key twice, which the parser cannot see.
    if (!seen_.insert(key.path).second) fail(line, str(key.path, " is given twice"));
    try {
      key.set(to_yaml_line(node));
    } catch (const Error& error) {
      fail(line, without_tag(error.what()));
    }
    table_.mark_set(key.path);
  }
  [[noreturn]] void fail(int line, std::string_view why) const {
    if (what_.empty()) throw Error(str(kTag, why), ExitCode::usage);
    throw Error(str(kTag, what_, ':', line, ": ", why));
  }

  ConfigTable& table_;
  std::string what_;
  std::set<std::string> seen_;
};

void ConfigTable::add(ConfigKey key) { keys_.push_back(std::move(key)); }

void ConfigTable::optional_group(const std::string& path, bool& present,
                                 const std::string& meaning) {
  groups_.push_back({path, &present, meaning});
}

const ConfigKey* ConfigTable::find(std::string_view path) const {
  const auto key =
      std::find_if(keys_.begin(), keys_.end(), [&](const ConfigKey& k) { return k.path == path; });
  return key == keys_.end() ? nullptr : &*key;
}

bool ConfigTable::is_group(std::string_view path) const {
  return std::any_of(groups_.begin(), groups_.end(),
                     [&](const Group& g) { return g.path == path; }) ||
         std::any_of(keys_.begin(), keys_.end(),
                     [&](const ConfigKey& k) { return is_below(k.path, path); });
}

void ConfigTable::mark_set(const std::string& path) {
  if (!was_set(path)) set_paths_.push_back(path);
  for (const Group& group : groups_)
    if (is_below(path, group.path)) *group.present = true;
}

void ConfigTable::switch_off(const Group& group) {
  *group.present = false;
  std::erase_if(set_paths_, [&](const std::string& path) { return is_below(path, group.path); });
  if (!was_set(group.path)) set_paths_.push_back(group.path);
}

bool ConfigTable::was_set(std::string_view path) const {
  return std::find(set_paths_.begin(), set_paths_.end(), path) != set_paths_.end();
}

std::string ConfigTable::unknown_key(const std::string& path) const {
  std::vector<std::string> all, names, same_name, siblings;
  const std::string name = last_part(path);
  const std::string group = path.substr(0, path.size() - std::min(path.size(), name.size() + 1));
  const auto see = [&](const std::string& known) {
    all.push_back(known);
    names.push_back(last_part(known));
    if (names.back() == name) same_name.push_back(known);
    if (is_below(known, group) &&
        known.find('.', group.empty() ? 0 : group.size() + 1) == std::string::npos)
      siblings.push_back(names.back());
  };
  std::set<std::string> groups;
  for (const ConfigKey& key : keys_) {
    see(key.path);
    for (size_t dot = 0; (dot = key.path.find('.', dot)) != std::string::npos; ++dot)
      groups.insert(key.path.substr(0, dot));
  }
  for (const Group& g : groups_) groups.insert(g.path);
  for (const std::string& g : groups) see(g);
  const auto with_name = [&](const std::string& wanted) {
    std::vector<std::string> paths;
    for (const std::string& known : all)
      if (last_part(known) == wanted) paths.push_back(known);
    return paths;
  };

  std::string hint;
  // The right name in the wrong group first, then a typing error in the whole path, then one in the
  // name.
  if (const std::string best = nearest_word(path, same_name.empty() ? all : same_name);
      !best.empty())
    hint = str("; did you mean ", best, "?");
  else if (!same_name.empty())
    hint = str("; did you mean ", any_of(same_name), "?");
  else if (const std::string near = nearest_word(name, names); !near.empty())
    hint = str("; did you mean ", any_of(with_name(near)), "?");
  else if (!group.empty() && !siblings.empty())
    hint = str("; ", group, " has ", join(siblings, ", "));
  else
    hint = "; `moe config schema` lists all keys";
  return str("unknown key ", printable(path, 100), hint);
}

void ConfigTable::set(const std::string& path, const std::string& yaml) {
  const ConfigKey* key = find(path);
  if (key == nullptr && (path.empty() || !is_group(path)))
    throw Error(str(kTag, unknown_key(path)), ExitCode::usage);
  YamlNode node;
  try {
    node = parse_yaml(yaml, path);
  } catch (const Error& error) {
    throw Error(error.what(), ExitCode::usage);
  }
  Setter(*this, "").apply(node, path, 1);
}

void ConfigTable::set_item(const std::string& yaml, const std::string& what) {
  const YamlNode node = parse_yaml(yaml, what);
  const bool is_group_of_keys = node.kind == YamlNode::Kind::map;
  try {
    if (is_group_of_keys)
      Setter(*this, "").apply(node, "", 1);
    else if (node.kind == YamlNode::Kind::scalar)
      set(keys_.front().path, yaml);
    else
      throw Error(str(kTag, "is ", printable(yaml, 60), ", must be a group of keys"));
  } catch (const Error& error) {
    throw Error(str(kTag, what, ": ", without_tag(error.what())), ExitCode::usage);
  }
}

std::string ConfigTable::to_flow() const {
  std::vector<std::string> parts;
  for (const ConfigKey& key : keys_) parts.push_back(key.path + ": " + key.get());
  return "{" + join(parts, ", ") + "}";
}

void ConfigTable::add_list(const std::string& path, const ConfigTable& names,
                           const std::string& meaning, ListField field) {
  std::vector<std::string> item;
  for (const ConfigKey& key : names.keys())
    item.push_back(str(key.path, ": ", key.range.empty() ? key.type : key.range));
  ConfigKey key{.path = path,
                .type = "list of groups",
                .range = "[{" + join(item, ", ") + "}, ...]",
                .meaning = meaning,
                .set = {},
                .get = {}};
  key.set = [path, field, wanted = key.range](const std::string& yaml) {
    const YamlNode node = parse_yaml(yaml, path);
    const bool is_null = node.kind == YamlNode::Kind::null;
    if (!is_null && node.kind != YamlNode::Kind::list)
      throw Error(str(kTag, path, " is ", printable(yaml, 80), ", must be a list: ", wanted),
                  ExitCode::usage);
    field.resize(node.items.size());
    for (size_t i = 0; i < node.items.size(); ++i) {
      ConfigTable table;
      field.bind(i, table);
      table.set_item(to_yaml_line(node.items[i]), str(path, '[', i, ']'));
    }
  };
  key.get = [field] {
    std::vector<std::string> items;
    for (size_t i = 0; i < field.size(); ++i) {
      ConfigTable table;
      field.bind(i, table);
      items.push_back(table.to_flow());
    }
    return "[" + join(items, ", ") + "]";
  };
  add(std::move(key));
}

void ConfigTable::read_file(const std::string& path) {
  read_yaml(moe::read_file(path, kMaxFileBytes), path);
}

void ConfigTable::read_yaml(const std::string& text, const std::string& what) {
  Setter(*this, printable(what)).apply(parse_yaml(text, printable(what)), "", 1);
}

void ConfigTable::apply_overrides(const std::vector<std::string>& key_values) {
  for (const std::string& key_value : key_values) {
    const size_t equals = key_value.find('=');
    const std::string path = trim(std::string_view(key_value).substr(0, equals));
    if (equals == std::string::npos || path.empty())
      throw Error(str(kTag, '"', printable(key_value, 100),
                      "\" is not key=value; write for example train.steps=50"),
                  ExitCode::usage);
    std::string value = trim(std::string_view(key_value).substr(equals + 1));
    // A string is taken as it stands: a path with " #" or ": " in it would lose its end, or be a
    // map, as YAML.
    const ConfigKey* key = find(path);
    const bool is_null = value.empty() || value == "~" || value == "null";
    const bool is_quoted = value.starts_with('"') || value.starts_with('\'');
    if (key != nullptr && key->type == "string" && !is_null && !is_quoted)
      value = yaml_string(value);
    set(path, value);
  }
}

std::string ConfigTable::to_yaml() const {
  const auto is_absent = [&](std::string_view path) {
    return std::any_of(groups_.begin(), groups_.end(), [&](const Group& g) {
      return !*g.present && (path == g.path || is_below(path, g.path));
    });
  };
  std::vector<std::string> paths;
  for (const ConfigKey& key : keys_)
    if (!is_absent(key.path)) paths.push_back(key.path);
  for (const Group& group : groups_)  // a group without a key of its own still has to be there
    if (!is_absent(group.path)) paths.push_back(group.path);

  std::string out;
  const std::function<void(const std::string&, int)> write = [&](const std::string& group,
                                                                 int indent) {
    std::set<std::string> written;  // keys of one group need not stand together in the table
    const size_t begin = group.empty() ? 0 : group.size() + 1;
    for (const std::string& path : paths) {
      if (!is_below(path, group)) continue;
      const std::string child = path.substr(0, path.find('.', begin));
      if (!written.insert(child).second) continue;
      out.append(static_cast<size_t>(indent), ' ').append(child.substr(begin)).append(":");
      if (const ConfigKey* key = find(child)) {
        out.append(" ").append(key->get()).append("\n");
      } else if (std::none_of(paths.begin(), paths.end(),
                              [&](const std::string& p) { return is_below(p, child); })) {
        out += " {}\n";
      } else {
        out += "\n";
        write(child, indent + 2);
      }
    }
  };
  write("", 0);
  return out.empty() ? "{}\n" : out;
}

}  // namespace moe
