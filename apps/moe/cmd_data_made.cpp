// SPDX-License-Identifier: MIT
// moe data identity and chat: conversations that the program writes itself.
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/str.h"
#include "moe/data/demo_chat.h"
#include "moe/data/identity.h"
#include "moe/data/records.h"

#include "apps/moe/cmd_data_files.h"
#include "apps/moe/command.h"

namespace moe {
namespace {

struct IdentityCommand {
  Identity identity;
  std::string out, from, language;
  bool exam = false;
};

/// To a file, or to stdout when it has no name.
int write_records(const std::vector<Record>& records, const std::string& out) {
  std::string content;
  for (const Record& record : records) content += line_of(record) + "\n";
  if (out.empty()) {
    content.pop_back();
    print_line(content);
    return 0;
  }
  if (!parent_path(out).empty()) make_directories(real_fs(), parent_path(out));
  write_file_atomic(real_fs(), out, content);
  print_line(str("wrote ", out, ": ", with_commas(std::ssize(records)), " conversations"));
  return 0;
}

int run_identity(const IdentityCommand& o) {
  MOE_CHECK(!o.identity.name.empty() && !o.identity.author.empty(),
            "[data identity] --name and --author must not be empty");
  std::vector<Record> records;
  if (o.exam) {
    records = identity_exam(o.identity);
  } else if (o.from.empty()) {
    records = identity_records(o.identity, o.language);
  } else {
    for (const Record& record : read_records(o.from, OnError::stop).records)
      records.push_back(with_identity(record, o.identity));
  }
  return write_records(records, o.out);
}

struct ChatCommand {
  std::string out, split = "train", subjects = "arithmetic,strings,code";
  int64_t n = 1000, min_turns = 1, turns = 5, seed = 1;
};

int run_chat(const ChatCommand& o) {
  std::vector<int> subjects;
  for (const std::string& name : split(o.subjects, ','))
    subjects.push_back(demo_subject(trim(name)));
  return write_records(demo_conversations(o.split == "train" ? Split::train : Split::validation,
                                          subjects, o.n, o.min_turns, o.turns, uint64_t(o.seed)),
                       o.out);
}

}  // namespace

DataFileCommands add_data_made_commands(CLI::App& app) {
  auto self = std::make_shared<IdentityCommand>();
  CLI::App* identity =
      app.add_subcommand("identity", "Conversations in which a model says its name and its author");
  identity->add_option("--name", self->identity.name, "of the model")->required();
  identity->add_option("--author", self->identity.author, "who made it")->required();
  identity->add_option(
      "--from", self->from,
      "a file of records with {{name}} and {{author}} instead of the built-in questions");
  identity->add_option("--language", self->language, "en or zh; default: both");
  identity->add_flag("--exam", self->exam,
                     "50 questions in words that the others do not have, with what an answer must "
                     "hold: for moe exam");
  identity->add_option("--out", self->out, "a .jsonl file; default: stdout");
  auto c = std::make_shared<ChatCommand>();
  CLI::App* chat = app.add_subcommand("chat", "Conversations about the built-in corpus's tasks");
  chat->add_option("--subjects", c->subjects, "by commas, of: " + join(demo_subject_names(), ", "))
      ->capture_default_str();
  chat->add_option("-n", c->n, "how many")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->capture_default_str();
  chat->add_option("--turns", c->turns, "questions in one at most")
      ->check(CLI::Range(int64_t{1}, int64_t{100}))
      ->capture_default_str();
  chat->add_option("--min-turns", c->min_turns, "questions in one at least")
      ->check(CLI::Range(int64_t{1}, int64_t{100}))
      ->capture_default_str();
  chat->add_option("--split", c->split, "train, or validation: prompts that train never holds")
      ->check(CLI::IsMember({"train", "validation"}))
      ->capture_default_str();
  add_seed_option(*chat, "--seed", c->seed, "seed of the draws")->capture_default_str();
  chat->add_option("--out", c->out, "a .jsonl file; default: stdout");
  return {{chat, [c] { return run_chat(*c); }}, {identity, [self] { return run_identity(*self); }}};
}

}  // namespace moe
