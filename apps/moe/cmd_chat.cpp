// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/log.h"
#include "moe/base/progress.h"
#include "moe/chat/chat_session.h"
#include "moe/families/model_folder.h"
#include "moe/report/table.h"

#include "apps/moe/command.h"
#include "apps/moe/line_reader.h"

namespace moe {
namespace {

// A model without a template was never taught to take turns: it goes on with what it reads.
constexpr const char* kPlainTemplate = "{% for m in messages %}{{ m.content }}{% endfor %}";

struct Options {
  std::string folder, system, chat_template, auto_file, load;
  int64_t seed = 1;
  bool json = false;
  ChatSettings settings;
  AdapterOptions adapters;
  MachineOptions machine;
};

const std::vector<std::pair<std::string, std::string>>& commands() {
  static const std::vector<std::pair<std::string, std::string>> kAll = {
      {"/reset", "forget the conversation; the system prompt stays"},
      {"/system", "TEXT: set the system prompt; without a text: show it"},
      {"/save", "FILE: write the conversation as JSON"},
      {"/load", "FILE: go on with a conversation that was saved"},
      {"/tokens", "the last answer's tokens with their probabilities"},
      {"/adapter", "NAME: use another of the adapters that were given, or none"},
      {"/help", "this list"},
      {"/exit", "leave (also Ctrl-D)"}};
  return kAll;
}

/// What a model writes must not steer the terminal: control characters are shown as a dot.
std::string without_controls(std::string text) {
  for (char& c : text)
    if ((uint8_t(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F) c = '.';
  return text;
}

class Chat {
 public:
  Chat(const Options& o, ModelFolder& folder, ChatEncoder encoder)
      : options_(o), folder_(folder), session_(*folder.model, std::move(encoder), o.settings) {
    session_.set_system(o.system);
    if (!o.load.empty()) load(o.load);
  }

  /// False: leave.
  bool take(const std::string& line) {
    if (line.empty()) return true;
    if (line[0] == '/') return command(line);
    answer(line);
    return true;
  }
  void answer(const std::string& text) {
    forget_interrupt();
    last_ = session_.ask(text, [&](const std::string& part) {
      if (!options_.json) write(is_terminal(1) ? without_controls(part) : part);
      return !interrupted();
    });
    if (!options_.json) write("\n");
    if (last_.dropped_turns > 0)
      log_info(str("the conversation is longer than the model's context of ",
                   folder_.model->config().max_seq_len, " tokens: its first ", last_.dropped_turns,
                   " messages were left out"));
    if (last_.interrupted) log_info("stopped");
    if (last_.reason == FinishReason::length) log_info("cut: the answer has reached its limit");
    answers_.push_back(JsonObject{{"prompt", text}, {"answer", last_.text}});
    forget_interrupt();
  }
  bool was_stopped() const { return last_.interrupted; }
  const JsonArray& answers() const { return answers_; }

 private:
  static void write(const std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
      throw Error("cannot write to standard output; it is closed or full", ExitCode::io);
  }
  void say(const std::string& text) const {
    if (!options_.json) print_line(text);
  }
  void load(const std::string& path) {
    session_.load(read_json(path, "[chat] " + printable(path)));
    say(str("loaded ", session_.messages().size(), " messages from ", printable(path)));
  }
  void show_tokens() const {
    const Tokenizer& tokenizer = session_.encoder().tokenizer();
    const auto text_of = [&](int32_t id) {
      return printable(std::string(tokenizer.token_bytes(id)), 24);
    };
    Table table({"token", "id", "probability", "others"});
    for (const AnswerToken& t : last_.tokens) {
      std::string others;
      for (const auto& [id, p] : t.candidates)
        if (id != t.id)
          others += fmt::format("{}'{}' {:.3f}", others.empty() ? "" : "  ", text_of(id), p);
      table.row(
          {"'" + text_of(t.id) + "'", str(t.id), fmt::format("{:.3f}", t.probability), others});
    }
    say(last_.tokens.empty() ? "there is no answer yet" : trim(table.text()));
  }
  bool command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string word = line.substr(0, space),
                      rest = space == std::string::npos ? "" : trim(line.substr(space));
    const auto need = [&](const char* what) { MOE_CHECK(!rest.empty(), word, " needs ", what); };
    if (word == "/exit" || word == "/quit") return false;
    if (word == "/reset") {
      session_.reset();
      say("the conversation is empty");
    } else if (word == "/system") {
      if (!rest.empty()) session_.set_system(rest);
      say(session_.system().empty() ? "there is no system prompt" : "system: " + session_.system());
    } else if (word == "/save") {
      need("a file's name");
      write_file_atomic(real_fs(), rest, to_json_pretty(session_.save()));
      say("saved " + printable(rest));
    } else if (word == "/load") {
      need("a file's name");
      load(rest);
    } else if (word == "/tokens") {
      show_tokens();
    } else if (word == "/adapter") {
      need("an adapter's name, or none");
      folder_.model->use_adapter(adapter_by_name(folder_, rest));
      session_.forget_cache();
      say("adapter: " + rest);
    } else if (word == "/help") {
      std::string text;
      for (const auto& [name, about] : commands()) text += fmt::format("{:<10}{}\n", name, about);
      say(text +
          "A line that ends in \\ goes on in the next one; \"\"\" begins and ends a text of "
          "several "
          "lines. Ctrl-C stops an answer.");
    } else {
      std::vector<std::string> words;
      for (const auto& [name, about] : commands()) words.push_back(name);
      const std::string near = nearest_word(word, words);
      throw Error(str("no command ", printable(word, 40),
                      near.empty() ? "" : "; did you mean " + near + "?", " (/help lists them)"));
    }
    return true;
  }

  const Options& options_;
  ModelFolder& folder_;
  ChatSession session_;
  Answer last_;
  JsonArray answers_;
};

/// One turn of a person: a line, lines joined by \ at their ends, or what stands between """.
std::optional<std::string> read_turn() {
  constexpr const char *kPrompt = "> ", *kMore = "... ";
  std::optional<std::string> line = read_line(kPrompt);
  if (!line) return std::nullopt;
  std::string text = trim(*line);
  if (starts_with(text, "\"\"\"")) {
    text = text.substr(3);
    while (!ends_with(text, "\"\"\"")) {
      line = read_line(kMore);
      if (!line || interrupted()) return "";
      text += "\n" + *line;
    }
    return text.substr(0, text.size() - 3);
  }
  while (ends_with(text, "\\")) {
    line = read_line(kMore);
    if (!line || interrupted()) return "";
    text = text.substr(0, text.size() - 1) + "\n" + *line;
  }
  return text;
}

int run_interactive(const Options& o, Chat& chat) {
  catch_interrupts();
  if (is_terminal(0) && !o.json) log_info("/help lists the commands, Ctrl-D leaves");
  for (;;) {
    forget_interrupt();
    if (interrupted()) return int(ExitCode::interrupted);
    const std::optional<std::string> turn = read_turn();
    if (!turn) break;
    if (interrupted()) {
      if (!is_terminal(0)) return int(ExitCode::interrupted);
      continue;
    }
    try {
      if (!chat.take(*turn)) break;
    } catch (const Error& e) {
      if (e.exit_code() == ExitCode::io) throw;
      log_warning(e.what());  // one bad turn or command ends no conversation
    }
  }
  if (is_terminal(1) && !o.json) print_line("");
  if (o.json) print_json({{"answers", chat.answers()}});
  return 0;
}

int run_file(const Options& o, Chat& chat) {
  catch_interrupts();
  int64_t n = 0;
  for (const std::string& raw : split(read_file(o.auto_file), '\n')) {
    ++n;
    const std::string line = trim(raw);
    if (line.empty()) continue;
    if (!o.json) print_line("> " + line);
    try {
      if (!chat.take(line)) break;
      if (chat.was_stopped()) return int(ExitCode::interrupted);
    } catch (const Error& e) {
      throw Error(str(printable(o.auto_file), " line ", n, ": ", e.what()), e.exit_code());
    }
  }
  if (o.json) print_json({{"answers", chat.answers()}});
  return 0;
}

ChatSource template_of(const Options& o, const ModelFolder& folder) {
  if (!o.chat_template.empty()) return find_chat_template(o.chat_template);
  if (auto own = folder_chat_template(folder.path)) return *own;
  log_info(
      "this model has no chat template: it goes on with the text it is given (--template "
      "chatml makes turns)");
  return {.text = kPlainTemplate, .what = "[template plain]"};
}

}  // namespace

RunCommand add_chat(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("DIR", o->folder, "run folder, checkpoint, Hugging Face folder or adapter")
      ->required();
  app.add_option("--system", o->system, "system prompt");
  app.add_option(
      "--template", o->chat_template,
      "chat template: a name of moe template list, a file or a folder; default: the model's");
  app.add_option("--auto", o->auto_file,
                 "answer the lines of a file, one conversation, and end; lines such as /reset are "
                 "commands");
  app.add_option("--load", o->load, "go on with a conversation that /save wrote");
  app.add_flag("--json", o->json, "{\"answers\": [{\"prompt\", \"answer\"}]} at the end");
  SamplerConfig& sampler = o->settings.sampler;
  sampler.temperature = 0.7;
  app.add_option("-n,--max-tokens", o->settings.max_new_tokens, "tokens of an answer at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--temp,--temperature", sampler.temperature, "0: greedy")->capture_default_str();
  app.add_option("--top-k", sampler.top_k, "0: off")->capture_default_str();
  app.add_option("--top-p", sampler.top_p, "1: off")->capture_default_str();
  app.add_option("--min-p", sampler.min_p, "0: off")->capture_default_str();
  add_seed_option(app, "-s,--seed", o->seed, "seed of the draws")->capture_default_str();
  o->adapters.add(app);
  o->machine.add(app);
  return [o] {
    o->settings.sampler.seed = uint64_t(o->seed);
    check_sampler(o->settings.sampler);
    o->machine.apply();
    ModelFolder folder = load_model_folder(o->folder);
    o->adapters.apply(folder);
    folder.need_tokenizer();
    o->settings.stop_ids = folder.eos_ids;
    Chat chat(*o, folder, ChatEncoder(template_of(*o, folder), folder.tokenizer));
    return o->auto_file.empty() ? run_interactive(*o, chat) : run_file(*o, chat);
  };
}

}  // namespace moe
