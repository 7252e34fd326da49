// SPDX-License-Identifier: MIT
#include "moe/study/pipeline.h"

#include <fmt/format.h>
#include <map>

#include "moe/base/error.h"
#include "moe/base/json.h"
#include "moe/base/rng.h"
#include "moe/base/yaml_tree.h"
#include "moe/io/checkpoint.h"

namespace moe {
namespace {

using Values = std::map<std::string, std::string>;

[[noreturn]] void wrong(const std::string& what, int line, const std::string& message) {
  throw Error(str("[pipeline] ", what, ":", line, ": ", message), ExitCode::usage);
}

const YamlNode* member(const YamlNode& map, const std::string& key) {
  for (const YamlNode::Member& m : map.members)
    if (m.key == key) return &m.value;
  return nullptr;
}

/// {key} replaced; an unknown one is an error, {{ stays a brace.
std::string filled(const std::string& text, const Values& values, const std::string& what,
                   int line) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '{') {
      out += text[i];
      continue;
    }
    const size_t close = text.find('}', i);
    if (close == std::string::npos) wrong(what, line, "a { without its }");
    const std::string key = text.substr(i + 1, close - i - 1);
    const auto found = values.find(key);
    if (found == values.end())
      wrong(what, line, str("{", printable(key, 40), "} is neither run_dir nor a key of set"));
    out += found->second;
    i = close;
  }
  return out;
}

/// A map of keys as key=value, the way an override is written; values are filled.
void flatten(const YamlNode& node, const std::string& prefix, const Values& values,
             const std::string& what, std::vector<std::string>& out) {
  for (const YamlNode::Member& m : node.members) {
    const std::string key = prefix.empty() ? m.key : prefix + "." + m.key;
    if (m.value.kind == YamlNode::Kind::map && !m.value.members.empty())
      flatten(m.value, key, values, what, out);
    else if (m.value.kind == YamlNode::Kind::scalar)
      out.push_back(key + "=" + filled(m.value.text, values, what, m.line));
    else
      out.push_back(key + "=" + to_yaml_line(m.value));
  }
}

std::string scalar(const YamlNode& node, const std::string& what, const std::string& key) {
  if (node.kind != YamlNode::Kind::scalar) wrong(what, node.line, key + " must be a text");
  return node.text;
}

}  // namespace

std::vector<std::string> split_words(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool open = false;
  char quote = 0;
  for (const char c : line) {
    if (quote != 0) {
      if (c == quote)
        quote = 0;
      else
        word += c;
    } else if (c == '"' || c == '\'') {
      quote = c;
      open = true;
    } else if (c == ' ' || c == '\t' || c == '\n') {
      if (open || !word.empty()) words.push_back(word);
      word.clear();
      open = false;
    } else {
      word += c;
    }
  }
  MOE_CHECK(quote == 0, "[pipeline] a ", std::string(1, quote),
            " without its end in: ", printable(line, 80));
  if (open || !word.empty()) words.push_back(word);
  return words;
}

Pipeline read_pipeline(const std::string& path, const std::vector<std::string>& overrides) {
  const YamlNode root = parse_yaml(read_file(path, 1 << 20), path);
  const std::string what = printable(path);
  if (root.kind != YamlNode::Kind::map) wrong(what, 1, "the file must be a map with stages");
  for (const YamlNode::Member& m : root.members)
    if (m.key != "run_dir" && m.key != "set" && m.key != "stages") {
      const std::string near =
          nearest_word(m.key, std::vector<std::string>{"run_dir", "set", "stages"});
      wrong(what, m.line,
            str("unknown key '", printable(m.key, 40), "'",
                near.empty() ? "" : "; did you mean " + near + "?"));
    }
  const YamlNode* stages = member(root, "stages");
  if (!stages || stages->kind != YamlNode::Kind::list || stages->items.empty())
    wrong(what, root.line, "stages must be a list of at least one stage");

  Values values;
  values["run_dir"] =
      member(root, "run_dir") ? scalar(*member(root, "run_dir"), what, "run_dir") : "runs/pipeline";
  if (const YamlNode* set = member(root, "set"))
    for (const YamlNode::Member& m : set->members) values[m.key] = scalar(m.value, what, m.key);
  std::map<std::string, std::vector<std::string>> of_stage;
  std::vector<std::string> names;
  for (const YamlNode& s : stages->items) {
    const YamlNode* name = member(s, "name");
    if (!name) wrong(what, s.line, "the stage has no name");
    names.push_back(scalar(*name, what, "name"));
  }
  for (const std::string& o : overrides) {
    const size_t equals = o.find('='), dot = o.find('.');
    const std::string key = o.substr(0, equals);
    if (values.contains(key)) {
      values[key] = o.substr(equals + 1);
    } else if (dot < equals &&
               std::find(names.begin(), names.end(), o.substr(0, dot)) != names.end()) {
      of_stage[o.substr(0, dot)].push_back(o.substr(dot + 1));
    } else {
      std::vector<std::string> words = names;
      for (const auto& [k, v] : values) words.push_back(k);
      const std::string near = nearest_word(key, words);
      throw Error(
          str("[pipeline] '", printable(key, 40), "' is neither run_dir, a key of set nor ",
              "STAGE.KEY of a train stage", near.empty() ? "" : "; did you mean " + near + "?"),
          ExitCode::usage);
    }
  }

  Pipeline out{.run_dir = values["run_dir"], .stages = {}};
  if (out.run_dir.empty()) wrong(what, root.line, "run_dir is empty");
  for (size_t i = 0; i < stages->items.size(); ++i) {
    const YamlNode& s = stages->items[i];
    for (const YamlNode::Member& m : s.members)
      if (m.key != "name" && m.key != "about" && m.key != "train" && m.key != "run")
        wrong(what, m.line,
              str("unknown key '", printable(m.key, 40),
                  "'; a stage has name, about, and train or run"));
    for (size_t j = 0; j < i; ++j)
      if (names[j] == names[i]) wrong(what, s.line, "two stages are called " + names[i]);
    PipelineStage stage{.name = names[i], .about = {}, .commands = {}};
    if (const YamlNode* about = member(s, "about")) stage.about = scalar(*about, what, "about");
    const YamlNode *train = member(s, "train"), *run = member(s, "run");
    if (!train == !run) wrong(what, s.line, "a stage has either train or run");
    if (train) {
      std::vector<std::string> command = {"train"};
      flatten(*train, "", values, what, command);
      command.push_back("run_dir=" + join_path(out.run_dir, stage.name));
      for (const std::string& key : of_stage[stage.name]) command.push_back(key);
      stage.commands.push_back(command);
    } else {
      if (!of_stage[stage.name].empty())
        throw Error(str("[pipeline] ", stage.name, " is no train stage; it has no keys to change"),
                    ExitCode::usage);
      const std::vector<YamlNode> one = {*run};
      for (const YamlNode& c : run->kind == YamlNode::Kind::list ? run->items : one) {
        std::vector<std::string> words;
        for (const std::string& word : split_words(scalar(c, what, "run")))
          words.push_back(filled(word, values, what, c.line));
        if (words.empty()) wrong(what, c.line, "an empty command");
        if (words[0] == "pipeline") wrong(what, c.line, "a pipeline does not run pipelines");
        stage.commands.push_back(words);
      }
    }
    out.stages.push_back(std::move(stage));
  }
  return out;
}

PipelineRun run_pipeline(const Pipeline& pipeline, Fs& fs,
                         const std::function<int(const std::vector<std::string>&)>& execute,
                         const std::function<void(const PipelineStage&, size_t, bool)>& begin) {
  make_directories(fs, pipeline.run_dir);
  const FileLock lock(join_path(pipeline.run_dir, "pipeline.lock"));
  const std::string state_path = join_path(pipeline.run_dir, "pipeline.json");
  std::map<std::string, std::string> done;
  if (exists(state_path)) {
    const std::string what = "[pipeline.json] " + state_path;
    const Json state = read_json(state_path, what);
    MOE_CHECK(state.is_object() && state.get_object().contains("done") &&
                  state.get_object().at("done").is_object(),
              what, ": must be an object with 'done'; remove the file to run all stages again");
    for (const auto& entry : state.get_object().at("done").get_object())
      if (entry.value().is_string())
        done[std::string(entry.key())] = std::string(entry.value().get_string());
  }
  PipelineRun out;
  JsonObject finished;
  uint64_t hash = 0;  // of this stage and all before it
  for (size_t i = 0; i < pipeline.stages.size(); ++i) {
    const PipelineStage& stage = pipeline.stages[i];
    for (const auto& command : stage.commands) hash = stable_hash(join(command, "\n"), hash + 1);
    const std::string mark = fmt::format("{:016x}", hash);
    const auto was = done.find(stage.name);
    const bool skip = was != done.end() && was->second == mark;
    begin(stage, i, skip);
    if (skip) {
      out.skipped.push_back(stage.name);
    } else {
      for (std::vector<std::string> command : stage.commands) {
        const std::string run = join_path(pipeline.run_dir, stage.name);
        if (command[0] == "train" && exists(join_path(run, "checkpoints")))
          command.push_back("--resume");
        const int code = execute(command);
        if (code == 0) continue;
        out.stopped_in = stage.name;
        out.exit_code = code;
        return out;
      }
      out.done.push_back(stage.name);
    }
    finished[stage.name] = mark;
    write_file_atomic(fs, state_path, to_json_pretty(JsonObject{{"done", finished}}));
  }
  return out;
}

}  // namespace moe
