// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/progress.h"
#include "moe/eval/chat_exam.h"
#include "moe/families/model_folder.h"
#include "moe/report/table.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

double share(const ChatScore& s) { return double(s.right) / double(std::max<int64_t>(1, s.asked)); }

}  // namespace

RunCommand add_exam(CLI::App& app) {
  struct Options {
    std::string folder, chat_template;
    std::vector<std::string> files, least;
    int64_t n = 0, max_tokens = 96;
    bool json = false;
    AdapterOptions adapters;
    MachineOptions machine;
  };
  auto o = std::make_shared<Options>();
  app.add_option("DIR", o->folder, "run folder, checkpoint, Hugging Face folder or adapter")
      ->required();
  app.add_option("--data", o->files, "conversations; may be given several times")->required();
  app.add_option("-n", o->n, "so many of each file at most; 0: all")->check(CLI::NonNegativeNumber);
  app.add_option("--max-tokens", o->max_tokens, "tokens of an answer at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--template", o->chat_template,
                 "chat template; default: the model's, else chatml");
  app.add_option("--at-least", o->least,
                 "SUBJECT=SHARE: exit 1 below it, e.g. identity=0.9; may be given several times");
  app.add_flag("--json", o->json, "{\"subjects\": {...}, \"turns\": [...]}");
  o->adapters.add(app);
  o->machine.add(app);
  return [o] {
    std::map<std::string, double> least;
    for (const std::string& entry : o->least) {
      const size_t equals = entry.rfind('=');
      char* end = nullptr;
      const double value =
          equals == std::string::npos ? -1 : std::strtod(entry.c_str() + equals + 1, &end);
      if (equals == std::string::npos || *end != 0 || !(value >= 0 && value <= 1))
        throw Error(
            "--at-least: '" + printable(entry, 60) + "' is no SUBJECT=SHARE, e.g. identity=0.9",
            ExitCode::usage);
      least[entry.substr(0, equals)] = value;
    }
    o->machine.apply();
    ModelFolder folder = load_model_folder(o->folder);
    o->adapters.apply(folder);
    folder.need_tokenizer();
    std::vector<Record> records;
    for (const std::string& file : o->files) {
      std::vector<Record> more = read_records(file, OnError::stop).records;
      if (o->n > 0 && std::ssize(more) > o->n) more.resize(size_t(o->n));
      records.insert(records.end(), std::make_move_iterator(more.begin()),
                     std::make_move_iterator(more.end()));
    }
    std::optional<ChatSource> source;
    if (o->chat_template.empty()) source = folder_chat_template(folder.path);
    if (!source)
      source = find_chat_template(o->chat_template.empty() ? "chatml" : o->chat_template);
    const ChatEncoder encoder(*source, folder.tokenizer);
    ProgressLine progress(o->json ? ProgressLine::Style::silent : ProgressLine::Style::automatic);
    const ChatExam exam = run_chat_exam(
        *folder.model, encoder, records,
        {.max_new_tokens = o->max_tokens, .stop_ids = folder.eos_ids, .progress = [&](double done) {
           progress.update(progress_bar(done, 20) + " exam");
         }});
    progress.finish();
    JsonObject subjects;
    JsonArray turns;
    Table table({"subject", "right", "asked", "share", "ended by itself"});
    const auto row = [&](const std::string& name, const ChatScore& s) {
      table.row(
          {name, str(s.right), str(s.asked), fmt::format("{:.1f}%", 100 * share(s)),
           fmt::format("{:.1f}%", 100 * double(s.ended) / double(std::max<int64_t>(1, s.asked)))});
      return JsonObject{{"right", s.right}, {"asked", s.asked}, {"ended", s.ended}};
    };
    std::string examples;
    for (const auto& [name, score] : exam.of_subject) {
      subjects[name.empty() ? "all" : name] = row(name.empty() ? "all" : name, score);
      for (const std::string& e : score.examples) examples += "  " + printable(e, 300) + "\n";
    }
    for (size_t t = 0; t < exam.of_turn.size(); ++t)
      turns.push_back(row(str("turn ", t + 1), exam.of_turn[t]));
    if (o->json)
      print_json({{"subjects", subjects}, {"turns", turns}});
    else
      print_line(examples + table.text());
    for (const auto& [name, value] : least) {
      const auto found = exam.of_subject.find(name);
      MOE_CHECK(found != exam.of_subject.end(), "[exam] no record has the subject '",
                printable(name, 40), "'");
      MOE_CHECK(share(found->second) >= value, "[exam] ", name, ": ", found->second.right, " of ",
                found->second.asked, " answers are right, wanted ", 100 * value, " %");
    }
    return 0;
  };
}

}  // namespace moe
