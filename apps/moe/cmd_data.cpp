// SPDX-License-Identifier: MIT
#include <algorithm>
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/progress.h"
#include "moe/data/dedup.h"
#include "moe/data/demo_corpus.h"
#include "moe/data/records.h"
#include "moe/report/table.h"
#include "moe/text/chat_template.h"
#include "moe/train/config_import.h"
#include "moe/train/run_config.h"

#include "apps/moe/cmd_tokenizer.h"
#include "apps/moe/command.h"

namespace moe {

namespace {

struct InspectOptions {
  std::string file, tokenizer, chat_template = "chatml", on_error = "skip";
  int64_t samples = 5;
  bool json = false;
};

/// The shortest, the median, the longest.
std::string spread(std::vector<int64_t> numbers) {
  std::sort(numbers.begin(), numbers.end());
  return str(with_commas(numbers.front()), ", ", with_commas(numbers[numbers.size() / 2]), ", ",
             with_commas(numbers.back()));
}

/// A rendered conversation for people: what is trained on in green, or between [ and ].
std::string with_trained_parts(const Rendered& rendered, bool color) {
  const std::string& text = rendered.text.bytes;
  std::string out;
  size_t done = 0;
  for (const auto& [begin, end] : rendered.generated) {
    out += text.substr(done, begin - done) + (color ? "\x1b[32m" : "[");
    out += text.substr(begin, end - begin) + (color ? "\x1b[0m" : "]");
    done = end;
  }
  return out + text.substr(done);
}

int run_inspect(const InspectOptions& o) {
  const RecordFile file = read_records(o.file, parse_on_error(o.on_error));
  const auto source = find_built_in_template(o.chat_template);
  MOE_CHECK(source, "[data] no template '", printable(o.chat_template, 40),
            "'; moe template list names them");
  const ChatTemplate chat_template(*source, str("[template ", o.chat_template, "]"));
  const auto tokenizer = o.tokenizer.empty() ? nullptr : open_any_tokenizer(o.tokenizer, "");
  std::vector<int64_t> bytes, tokens, turns;
  JsonArray samples;
  std::string shown;
  for (size_t i = 0; i < file.records.size(); ++i) {
    const Record& record = file.records[i];
    Rendered rendered;
    rendered.text = record.text;
    if (!record.is_text()) {
      const Json context = JsonObject{
          {"messages", record.messages}, {"tools", record.tools}, {"add_generation_prompt", false}};
      rendered = render_chat(chat_template, context, {.tidy = true});
      turns.push_back(std::ssize(record.messages));
    }
    const std::string& text = rendered.text.bytes;
    bytes.push_back(std::ssize(text));
    if (tokenizer) tokens.push_back(std::ssize(tokenizer->encode(text, SpecialTokens::parse)));
    if (std::ssize(samples) >= o.samples) continue;
    JsonArray trained;
    for (const auto& [begin, end] : rendered.generated)
      trained.push_back(JsonArray{Json(begin), Json(end)});
    samples.push_back(JsonObject{{"line", record.line}, {"text", text}, {"trained", trained}});
    constexpr size_t kShown = 1000;
    std::string sample = with_trained_parts(rendered, wants_color(1));
    if (sample.size() > kShown) sample = sample.substr(0, kShown) + " ...";
    shown += str("\n--- line ", record.line, "\n", sample, "\n");
  }
  JsonObject out{{"file", o.file},
                 {"form", file.form},
                 {"records", file.records.size()},
                 {"bad_records", file.n_bad},
                 {"samples", samples}};
  JsonArray bad;
  for (const std::string& line : file.bad) bad.push_back(Json(line));
  out["bad"] = bad;
  if (o.json) {
    print_json(out);
    return 0;
  }
  Table table({"", ""});
  table.row({"form", file.form});
  table.row({"records", with_commas(std::ssize(file.records))});
  table.row({"left out", with_commas(file.n_bad)});
  table.row({"bytes: least, median, most", spread(bytes)});
  if (!turns.empty()) table.row({"turns: least, median, most", spread(turns)});
  if (!tokens.empty()) table.row({"tokens: least, median, most", spread(tokens)});
  std::string text = table.text();
  for (const std::string& line : file.bad) text += "bad: " + line + "\n";
  print_line(text + shown);
  return 0;
}

struct DedupCommand {
  std::vector<std::string> files;
  std::string out, on_error = "skip";
  double similarity = 0.6;
  bool json = false;
  MachineOptions machine;
};

/// A record as one line of JSON.
std::string line_of(const Record& record) {
  if (record.is_text()) return to_json_line(JsonObject{{"text", record.text}});
  JsonObject o{{"messages", record.messages}};
  if (!record.tools.is_null()) o["tools"] = record.tools;
  return to_json_line(o);
}

/// "chats.jsonl.gz" is written as chats.jsonl.
std::string output_name(const std::string& path) {
  const std::string name = file_name(path);
  return name.substr(0, name.find('.')) + ".jsonl";
}

int run_dedup(const DedupCommand& o) {
  o.machine.apply();
  std::vector<RecordFile> files;
  std::vector<std::string> names, lines;
  std::vector<size_t> file_of;
  for (size_t f = 0; f < o.files.size(); ++f) {
    files.push_back(read_records(o.files[f], parse_on_error(o.on_error)));
    const std::string name = output_name(o.files[f]);
    MOE_CHECK(std::find(names.begin(), names.end(), name) == names.end(),
              "[data] two files would be written as ", name, "; rename one of them");
    names.push_back(name);
    for (const Record& record : files.back().records) {
      lines.push_back(line_of(record));
      file_of.push_back(f);
    }
  }
  // Conversations are compared by what is said.
  std::vector<std::string> texts;
  for (const RecordFile& file : files)
    for (const Record& record : file.records) {
      std::string text = record.text;
      for (const Json& m : record.messages) {
        const Json* content = m.as_object().if_contains("content");
        if (content && content->is_string()) text += std::string(content->as_string()) + "\n";
      }
      texts.push_back(std::move(text));
    }
  ProgressLine progress(o.json ? ProgressLine::Style::silent : ProgressLine::Style::automatic);
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const std::vector<Duplicate> found =
      find_duplicates(views, {.similarity = o.similarity, .progress = [&](double share) {
                                progress.update(progress_bar(share, 20) + " comparing documents");
                              }});
  progress.finish();
  std::vector<const Duplicate*> duplicate(lines.size(), nullptr);
  for (const Duplicate& d : found) duplicate[size_t(d.index)] = &d;
  make_directories(real_fs(), o.out);
  Table table({"file", "records", "exact copies", "near copies", "kept", "written"});
  JsonArray rows;
  size_t i = 0;
  for (size_t f = 0; f < files.size(); ++f) {
    std::string content;
    int64_t exact = 0, near = 0, kept = 0;
    for (; i < lines.size() && file_of[i] == f; ++i) {
      if (duplicate[i]) {
        (duplicate[i]->exact ? exact : near) += 1;
      } else {
        ++kept;
        content += lines[i] + "\n";
      }
    }
    const std::string path = join_path(o.out, names[f]);
    write_file_atomic(real_fs(), path, content);
    table.row({o.files[f], with_commas(std::ssize(files[f].records)), with_commas(exact),
               with_commas(near), with_commas(kept), path});
    rows.push_back(JsonObject{{"file", o.files[f]},
                              {"records", files[f].records.size()},
                              {"exact_copies", exact},
                              {"near_copies", near},
                              {"kept", kept},
                              {"written", path}});
  }
  if (o.json)
    print_json({{"files", rows}});
  else
    print_line(table.text());
  return 0;
}

}  // namespace

RunCommand add_data(CLI::App& app) {
  struct Options {
    std::string subject, split = "train";
    int64_t n = 10;
    int64_t seed = 1;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.require_subcommand(1);
  CLI::App* generate = app.add_subcommand("generate", "Print samples of the built-in corpus");
  generate->add_option("--subject", o->subject,
                       "one of: " + join(demo_subject_names(), ", ") + "; default: all, mixed");
  generate->add_option("-n", o->n, "how many")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  generate->add_option("--split", o->split, "train or validation")
      ->check(CLI::IsMember({"train", "validation"}))
      ->capture_default_str();
  add_seed_option(*generate, "--seed", o->seed, "seed of the corpus")->capture_default_str();
  generate->add_flag("--json", o->json, "one JSON object a line: subject, prompt, answer");
  auto looked = std::make_shared<InspectOptions>();
  CLI::App* inspect = app.add_subcommand(
      "inspect", "What a file of records holds: form, lengths, wrong lines, samples");
  inspect->add_option("file", looked->file, "txt, jsonl, json, csv, tsv; also .gz and .zst")
      ->required();
  inspect->add_option("-n,--samples", looked->samples, "records to show")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  inspect
      ->add_option("--template", looked->chat_template,
                   "how conversations are shown: moe template list")
      ->capture_default_str();
  inspect->add_option("--tokenizer", looked->tokenizer, "count tokens too");
  inspect
      ->add_option("--on-error", looked->on_error, "a record that is wrong: stop, skip or report")
      ->capture_default_str();
  inspect->add_flag("--json", looked->json, "one JSON object");
  auto copies = std::make_shared<DedupCommand>();
  CLI::App* dedup =
      app.add_subcommand("dedup", "Leave out copies and near copies, within and between files");
  dedup
      ->add_option(
          "files", copies->files,
          "files of records; of two copies the one in the earlier file stays, so name what "
          "must not leak (evaluation, validation) before the training data")
      ->required();
  dedup->add_option("--out", copies->out, "folder for the files without copies, as .jsonl")
      ->required();
  dedup
      ->add_option("--similarity", copies->similarity,
                   "Jaccard similarity of word triples from which on two are copies; 1: exact ones")
      ->check(CLI::Range(0.3, 1.0))
      ->capture_default_str();
  dedup->add_option("--on-error", copies->on_error, "a record that is wrong: stop, skip or report")
      ->capture_default_str();
  dedup->add_flag("--json", copies->json, "one JSON object");
  copies->machine.add(*dedup);
  return [o, looked, inspect, copies, dedup] {
    if (inspect->parsed()) return run_inspect(*looked);
    if (dedup->parsed()) return run_dedup(*copies);
    const DemoCorpus corpus(uint64_t(o->seed));
    const Split split = o->split == "train" ? Split::train : Split::validation;
    for (int64_t i = 0; i < o->n; ++i) {
      const DemoSample s = o->subject.empty() ? corpus.sample(split, i)
                                              : corpus.sample(split, demo_subject(o->subject), i);
      if (o->json)
        print_json({{"subject", demo_subject_names()[size_t(s.subject)]},
                    {"prompt", s.prompt},
                    {"answer", s.answer}});
      else
        print_line(s.prompt + s.answer);
    }
    return 0;
  };
}

RunCommand add_config(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  app.require_subcommand(1);
  CLI::App* schema =
      app.add_subcommand("schema", "Every key with type, range, default and meaning");
  schema->add_flag("--json", *json, "one JSON object");
  CLI::App* import = app.add_subcommand(
      "import", "A flat Python- or key=value-style configuration as ours, in YAML");
  struct ImportOptions {
    std::string file, out;
  };
  auto o = std::make_shared<ImportOptions>();
  import->add_option("FILE", o->file, "name = value lines; nothing is run")->required();
  import->add_option("--out", o->out, "write here instead of on stdout");
  return [json, import, o] {
    if (import->parsed()) {
      const ImportedConfig imported = import_config(read_file(o->file), printable(o->file));
      std::string yaml = "# from " + printable(file_name(o->file)) + "\n";
      for (const std::string& name : imported.ignored)
        yaml += "# not used: " + printable(name) + "\n";
      yaml += to_yaml(read_run_config({.file = "", .overrides = imported.keys}));
      if (o->out.empty())
        print_line(trim(yaml));
      else
        write_file_atomic(real_fs(), o->out, yaml);
      return 0;
    }
    RunConfig config;
    config.model.has_moe = true;
    ConfigTable table;
    bind_run_keys(table, config);
    JsonArray keys;
    std::string group;
    for (const ConfigKey& key : table.keys()) {
      if (*json) {
        keys.push_back(JsonObject{{"key", key.path},
                                  {"type", key.type},
                                  {"range", key.range},
                                  {"default", key.get()},
                                  {"meaning", key.meaning}});
        continue;
      }
      const std::string of =
          key.path.substr(0, key.path.rfind('.') == std::string::npos ? 0 : key.path.rfind('.'));
      if (of != group) print_line("");
      group = of;
      print_line(fmt::format("{:<34} {:<16} default {:<12} {}", key.path, key.type,
                             key.get().empty() ? "\"\"" : key.get(), key.range));
      print_line("    " + key.meaning);
    }
    if (*json) print_json({{"keys", keys}});
    return 0;
  };
}

}  // namespace moe
