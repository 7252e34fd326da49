// SPDX-License-Identifier: MIT
// moe data inspect, dedup, filter, split and text: files of records in, JSON lines out.
#include "apps/moe/cmd_data_files.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/progress.h"
#include "moe/base/rng.h"
#include "moe/data/dedup.h"
#include "moe/data/filter.h"
#include "moe/data/prepared_data.h"
#include "moe/data/records.h"
#include "moe/report/table.h"
#include "moe/text/chat_encoder.h"

#include "apps/moe/cmd_data_prepare.h"
#include "apps/moe/cmd_tokenizer.h"
#include "apps/moe/command.h"

namespace moe {

std::string line_of(const Record& record) {
  if (record.is_text()) return to_json_line(JsonObject{{"text", record.text}});
  JsonObject o{{"messages", record.messages}};
  if (!record.subject.empty()) o["subject"] = record.subject;
  if (!record.expect.empty()) {
    JsonArray expect;
    for (const std::string& e : record.expect) expect.push_back(Json(e));
    o["expect"] = expect;
  }
  if (!record.tools.is_null()) o["tools"] = record.tools;
  return to_json_line(o);
}

namespace {

struct InspectOptions {
  std::string file, tokenizer, chat_template = "chatml", on_error = "skip", turns = "every";
  int64_t samples = 5;
  bool json = false;
};

/// The shortest, the median, the longest.
std::string spread(std::vector<int64_t> numbers) {
  std::sort(numbers.begin(), numbers.end());
  return str(with_commas(numbers.front()), ", ", with_commas(numbers[numbers.size() / 2]), ", ",
             with_commas(numbers.back()));
}

/// Pieces of a text for people: what is trained on in green, or between [ and ].
std::string with_trained_parts(const std::string& text, const ByteSpans& trained, bool color) {
  std::string out;
  size_t done = 0;
  for (const auto& [begin, end] : trained) {
    out += text.substr(done, begin - done) + (color ? "\x1b[32m" : "[");
    out += text.substr(begin, end - begin) + (color ? "\x1b[0m" : "]");
    done = end;
  }
  return out + text.substr(done);
}

/// Runs of ids that are learned, as [begin, end).
JsonArray runs_of(const std::vector<uint8_t>& trained) {
  JsonArray out;
  for (size_t i = 0; i < trained.size(); ++i) {
    if (!trained[i]) continue;
    const size_t begin = i;
    while (i < trained.size() && trained[i]) ++i;
    out.push_back(JsonArray{Json(begin), Json(i)});
  }
  return out;
}

JsonArray pairs_of(const ByteSpans& spans) {
  JsonArray out;
  for (const auto& [begin, end] : spans) out.push_back(JsonArray{Json(begin), Json(end)});
  return out;
}

int run_inspect(const InspectOptions& o) {
  if (is_prepared_data(o.file)) return inspect_prepared(o.file, o.samples, o.json);
  const RecordFile file = read_records(o.file, parse_on_error(o.on_error));
  const bool has_tokenizer = !o.tokenizer.empty();
  // Without a tokenizer the bytes of the text stand for tokens.
  const std::shared_ptr<const Tokenizer> tokenizer =
      has_tokenizer ? open_any_tokenizer(o.tokenizer, "")
                    : std::shared_ptr<const Tokenizer>(make_byte_tokenizer());
  const ChatEncoder encoder(find_chat_template(o.chat_template), tokenizer);
  const TrainedTurns which = o.turns == "last" ? TrainedTurns::last : TrainedTurns::every;
  std::vector<int64_t> bytes, tokens, learned, turns;
  JsonArray samples;
  std::string shown;
  for (const Record& record : file.records) {
    Rendered rendered;
    rendered.text = record.text;
    ByteSpans spans;
    if (record.is_text()) {
      spans.emplace_back(0, record.text.size());
    } else {
      rendered = encoder.render(record.messages, record.tools, false);
      spans = encoder.trained_spans(record.messages, record.tools, rendered, which);
      turns.push_back(std::ssize(record.messages));
    }
    const std::string& text = rendered.text.bytes;
    bytes.push_back(std::ssize(text));
    std::vector<TokenId> ids;
    std::vector<uint8_t> trained;
    if (has_tokenizer) {
      ids = record.is_text() ? tokenizer->encode(text)
                             : tokenizer->encode_marked(text, rendered.text.origins);
      trained = spans_to_ids(*tokenizer, rendered.text, ids, spans);
      tokens.push_back(std::ssize(ids));
      learned.push_back(std::count(trained.begin(), trained.end(), 1));
    }
    if (std::ssize(samples) >= o.samples) continue;
    JsonObject sample{{"line", record.line}, {"text", text}, {"trained", pairs_of(spans)}};
    if (has_tokenizer) {
      sample["ids"] = JsonArray(ids.begin(), ids.end());
      sample["trained_ids"] = runs_of(trained);
    }
    samples.push_back(sample);
    constexpr size_t kShown = 1000;
    std::string for_people = with_trained_parts(text, spans, wants_color(1));
    if (for_people.size() > kShown) for_people = for_people.substr(0, kShown) + " ...";
    shown += str("\n--- line ", record.line, "\n", for_people, "\n");
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
  if (!bytes.empty()) table.row({"bytes: least, median, most", spread(bytes)});
  if (!turns.empty()) table.row({"turns: least, median, most", spread(turns)});
  if (!tokens.empty()) table.row({"tokens: least, median, most", spread(tokens)});
  if (!learned.empty()) table.row({"learned: least, median, most", spread(learned)});
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

/// What is said in a record: its text, or what its turns hold.
std::string words_of(const Record& record) {
  std::string text = record.text;
  for (const Json& m : record.messages) {
    const Json* content = m.as_object().if_contains("content");
    if (content && content->is_string()) text += std::string(content->as_string()) + "\n";
  }
  return text;
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
  std::vector<std::string> texts;
  for (const RecordFile& file : files)
    for (const Record& record : file.records) texts.push_back(words_of(record));
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

struct FilterCommand {
  std::vector<std::string> files;
  std::string out, on_error = "skip";
  FilterRules rules;
  std::string rejected;
  bool json = false;
};

int run_filter(const FilterCommand& o) {
  std::map<std::string, std::string> outputs;  // written once all is read
  Table table({"file", "records", "kept", "left out"});
  JsonArray rows;
  std::string rejected;
  for (const std::string& path : o.files) {
    const RecordFile file = read_records(path, parse_on_error(o.on_error));
    std::map<std::string, int64_t> broken;
    const auto [output, is_new] = outputs.try_emplace(join_path(o.out, output_name(path)));
    MOE_CHECK(is_new, "[data] two files would be written as ", output_name(path),
              "; rename one of them");
    std::string& content = output->second;
    int64_t kept = 0;
    for (const Record& record : file.records) {
      const std::string rule = broken_rule(words_of(record), o.rules);
      if (rule.empty()) {
        ++kept;
        content += line_of(record) + "\n";
        continue;
      }
      ++broken[rule];
      JsonObject why = parse_json(line_of(record), "record", 16).as_object();
      why["rule"] = rule;
      why["line"] = record.line;
      if (!o.rejected.empty()) rejected += to_json_line(why) + "\n";
    }
    JsonObject counts;
    std::vector<std::string> reasons;
    for (const auto& [rule, n] : broken) {
      counts[rule] = n;
      reasons.push_back(str(rule, " ", with_commas(n)));
    }
    table.row({path, with_commas(std::ssize(file.records)), with_commas(kept),
               reasons.empty() ? "none" : join(reasons, ", ")});
    rows.push_back(JsonObject{
        {"file", path}, {"records", file.records.size()}, {"kept", kept}, {"left_out", counts}});
  }
  make_directories(real_fs(), o.out);
  for (const auto& [path, content] : outputs) write_file_atomic(real_fs(), path, content);
  if (!o.rejected.empty()) write_file_atomic(real_fs(), o.rejected, rejected);
  if (o.json)
    print_json({{"files", rows}});
  else
    print_line(table.text());
  return 0;
}

struct SplitCommand {
  std::vector<std::string> files;
  std::string out, on_error = "skip";
  double validation = 0.1, test = 0;
  int64_t seed = 0;
  bool json = false;
};

/// By a hash of what is said, so that copies of a record fall on one side and more data moves
/// nothing.
int run_split(const SplitCommand& o) {
  if (o.validation + o.test >= 1)
    throw Error("[data split] --val and --test leave nothing to train on", ExitCode::usage);
  std::map<std::string, std::string> parts{{"train", ""}};
  if (o.validation > 0) parts["val"] = "";
  if (o.test > 0) parts["test"] = "";
  std::map<std::string, int64_t> counts;
  for (const std::string& path : o.files)
    for (const Record& record : read_records(path, parse_on_error(o.on_error)).records) {
      const double at = double(stable_hash(words_of(record), uint64_t(o.seed)) >> 11) * 0x1p-53;
      const char* part = at < o.test ? "test" : at < o.test + o.validation ? "val" : "train";
      parts[part] += line_of(record) + "\n";
      ++counts[part];
    }
  JsonObject out;
  Table table({"part", "records", "written"});
  make_directories(real_fs(), o.out);
  for (const auto& [part, content] : parts) {
    const std::string path = join_path(o.out, part + ".jsonl");
    write_file_atomic(real_fs(), path, content);
    table.row({part, with_commas(counts[part]), path});
    out[part] = counts[part];
  }
  if (o.json)
    print_json(out);
  else
    print_line(table.text());
  return 0;
}

struct TextCommand {
  std::vector<std::string> files;
  std::string out, on_error = "skip";
};

int run_text(const TextCommand& o) {
  std::string content;
  int64_t n = 0;
  for (const std::string& file : o.files)
    for (const Record& record : read_records(file, parse_on_error(o.on_error)).records) {
      std::string text = words_of(record);
      if (!ends_with(text, "\n")) text += '\n';
      content += (content.empty() ? "" : "\n") + text;
      ++n;
    }
  if (!parent_path(o.out).empty()) make_directories(real_fs(), parent_path(o.out));
  write_file_atomic(real_fs(), o.out, content);
  print_line(str("wrote ", o.out, ": ", with_commas(n), " records, ", human_bytes(content.size())));
  return 0;
}

void add_on_error(CLI::App* app, std::string& on_error) {
  app->add_option("--on-error", on_error, "a record that is wrong: stop, skip or report")
      ->capture_default_str();
}

}  // namespace

DataFileCommands add_data_file_commands(CLI::App& app) {
  auto looked = std::make_shared<InspectOptions>();
  CLI::App* inspect = app.add_subcommand(
      "inspect", "What a file of records holds: form, lengths, wrong lines, samples");
  inspect
      ->add_option("file", looked->file,
                   "txt, jsonl, json, csv, tsv; also .gz and .zst; or a folder of moe data prepare")
      ->required();
  inspect->add_option("-n,--samples", looked->samples, "records to show")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  inspect
      ->add_option("--template", looked->chat_template,
                   "how conversations are shown: a name of moe template list, a file or a folder")
      ->capture_default_str();
  inspect
      ->add_option("--turns", looked->turns, "the assistant's turns that are learned: every, last")
      ->check(CLI::IsMember({"every", "last"}))
      ->capture_default_str();
  inspect->add_option("--tokenizer", looked->tokenizer,
                      "count tokens too, and show which are learned");
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
  add_on_error(dedup, copies->on_error);
  dedup->add_flag("--json", copies->json, "one JSON object");
  copies->machine.add(*dedup);

  auto f = std::make_shared<FilterCommand>();
  CLI::App* filter =
      app.add_subcommand("filter", "Leave out what is not worth training on, and count why");
  filter->add_option("files", f->files, "files of records")->required();
  filter->add_option("--out", f->out, "folder for what is kept, as .jsonl")->required();
  filter->add_option("--rejected", f->rejected, "file for what is left out, each with its rule");
  filter->add_option("--min-chars", f->rules.min_characters, "least characters");
  filter->add_option("--max-chars", f->rules.max_characters, "most characters");
  filter->add_option(
      "--max-symbols", f->rules.max_symbol_ratio,
      "most of the characters that are neither letters, digits nor spaces, e.g. 0.3");
  filter->add_option("--max-repeated-lines", f->rules.max_repeated_lines,
                     "most of the text in lines that come again, e.g. 0.3");
  filter->add_option("--max-repeated-words", f->rules.max_repeated_words,
                     "most of the text in runs of five words that come again, e.g. 0.2");
  filter
      ->add_option(
          "--language", f->rules.languages,
          "keep only these: zh, ja, ko, ru, el, ar, he, hi, th, en, de, fr, es, it, pt, nl")
      ->delimiter(',');
  filter->add_option("--block-words", f->rules.blocked_words, "words that no record may hold")
      ->delimiter(',');
  filter->add_option("--block-urls", f->rules.blocked_urls, "parts of URLs that no record may hold")
      ->delimiter(',');
  add_on_error(filter, f->on_error);
  filter->add_flag("--json", f->json, "one JSON object");

  auto s = std::make_shared<SplitCommand>();
  CLI::App* split =
      app.add_subcommand("split", "Cut records into train.jsonl, val.jsonl and test.jsonl");
  split->add_option("files", s->files, "files of records")->required();
  split->add_option("--out", s->out, "folder for the parts")->required();
  split->add_option("--val", s->validation, "share of the records")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  split->add_option("--test", s->test, "share of the records")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  add_seed_option(*split, "--seed", s->seed, "another seed, another split")->capture_default_str();
  add_on_error(split, s->on_error);
  split->add_flag("--json", s->json, "one JSON object");
  auto t = std::make_shared<TextCommand>();
  CLI::App* text = app.add_subcommand(
      "text", "The texts of records, and what is said in conversations, as one plain text");
  text->add_option("files", t->files, "files of records or text")->required();
  text->add_option("--out", t->out, "a .txt file")->required();
  add_on_error(text, t->on_error);
  return {{text, [t] { return run_text(*t); }},
          {inspect, [looked] { return run_inspect(*looked); }},
          {dedup, [copies] { return run_dedup(*copies); }},
          {filter, [f] { return run_filter(*f); }},
          {split, [s] { return run_split(*s); }}};
}

}  // namespace moe
