// SPDX-License-Identifier: MIT
// Configuration files: YAML (or JSON, which is YAML) and key=value overrides into plain structs,
// through one table of keys that also gives defaults, ranges, the documentation and the "did you
// mean".
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace moe {

/// One key, e.g. "model.moe.top_k". `set` parses and range-checks text and throws Error naming the
/// key; `get` gives the present value as YAML text that `set` reads back to the same value.
struct ConfigKey {
  std::string path;     // dotted
  std::string type;     // "integer", "number", "boolean", "string", "list of numbers", ...
  std::string range;    // ">= 1", "adamw | sgd | muon", "" when free
  std::string meaning;  // one sentence, with the unit
  std::function<void(const std::string& yaml)> set;
  std::function<std::string()> get;
};

/// The table of keys bound to one set of structs (which must outlive it).
class ConfigTable {
 public:
  void integer(const std::string& path, int64_t& field, int64_t min, int64_t max,
               const std::string& meaning);
  void integer(const std::string& path, int& field, int min, int max, const std::string& meaning);
  void number(const std::string& path, double& field, double min, double max,
              const std::string& meaning);
  void boolean(const std::string& path, bool& field, const std::string& meaning);
  void string(const std::string& path, std::string& field, const std::string& meaning);
  /// One of some words; true and false among them may be written as booleans, and are.
  void choice(const std::string& path, std::string& field, std::vector<std::string> choices,
              const std::string& meaning);
  /// A word of some grammar, or a list of whole numbers, which the field holds as "[2,5,8]".
  void string_or_list(const std::string& path, std::string& field, const std::string& meaning);
  void numbers(const std::string& path, std::vector<double>& field, size_t count, double min,
               double max, const std::string& meaning);
  /// A list of groups of keys, such as [{path: a, weight: 2}, {path: b}], as a vector of structs:
  /// bind adds the keys of one item ("path") to a table of its own. An item that is one value is
  /// its first key: [a, b]. Setting the key replaces the whole list.
  template <class Item>
  void list(const std::string& path, std::vector<Item>& field, void (*bind)(ConfigTable&, Item&),
            const std::string& meaning) {
    Item names_only;
    ConfigTable names;
    bind(names, names_only);
    add_list(path, names, meaning,
             {.resize =
                  [&field](size_t n) {
                    field.clear();
                    field.resize(n);
                  },
              .bind = [&field, bind](size_t i, ConfigTable& table) { bind(table, field[i]); },
              .size = [&field] { return field.size(); }});
  }
  void add(ConfigKey key);
  /// A group that is switched on by being present ("model.moe"): `present` becomes true when any
  /// key below it is set.
  void optional_group(const std::string& path, bool& present, const std::string& meaning);

  const std::vector<ConfigKey>& keys() const { return keys_; }
  const ConfigKey* find(std::string_view path) const;

  /// Sets one key; an unknown one is an Error (ExitCode::usage) that names the nearest valid key.
  void set(const std::string& path, const std::string& yaml);
  /// Reads a YAML file: unknown keys, duplicate keys, wrong types, aliases (&, *) and documents
  /// nested deeper than 16 are Errors with file and line. An optional group given as an empty map
  /// is on; given as null it is off.
  void read_file(const std::string& path);
  void read_yaml(const std::string& text, const std::string& what);
  /// Applies "key=value" arguments in order.
  void apply_overrides(const std::vector<std::string>& key_values);
  /// All keys (an absent optional group left out) as a YAML document that read_yaml maps to the
  /// same structs.
  std::string to_yaml() const;
  /// Whether a key was set explicitly by a file or an override.
  bool was_set(std::string_view path) const;

 private:
  struct Group {
    std::string path;
    bool* present;
    std::string meaning;
  };
  class Setter;
  struct ListField {
    std::function<void(size_t)> resize;
    std::function<void(size_t, ConfigTable&)> bind;
    std::function<size_t()> size;
  };

  void add_list(const std::string& path, const ConfigTable& names, const std::string& meaning,
                ListField field);
  void set_item(const std::string& yaml, const std::string& what);
  std::string to_flow() const;
  bool is_group(std::string_view path) const;
  void mark_set(const std::string& path);
  void switch_off(const Group& group);
  std::string unknown_key(const std::string& path) const;

  std::vector<ConfigKey> keys_;
  std::vector<Group> groups_;
  std::vector<std::string> set_paths_;
};

}  // namespace moe
