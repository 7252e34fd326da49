// SPDX-License-Identifier: MIT
// moe tokenizer train and compare.
#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <memory>

#include "moe/base/clock.h"
#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/progress.h"
#include "moe/report/table.h"
#include "moe/text/encode_batch.h"
#include "moe/text/tokenizer_spec.h"
#include "moe/text/trainers/tokenizer_trainer.h"

#include "apps/moe/cmd_tokenizer.h"
#include "apps/moe/command.h"

namespace moe {
namespace {

TrainedTokenizer train_with_progress(TokenizerTraining training, bool silent) {
  ProgressLine progress(silent ? ProgressLine::Style::silent : ProgressLine::Style::automatic);
  training.progress = [&](const char* stage, double done, double all) {
    const bool reading = stage[0] == 'r';
    progress.update(str(progress_bar(all > 0 ? done / all : 1, 20), " ", stage,
                        reading ? str(" ", human_bytes(uint64_t(done))) : ""));
  };
  TrainedTokenizer out = train_tokenizer(training);
  progress.finish();
  return out;
}

int run_train(const TokenizerTraining& training, const std::string& out, bool json) {
  for (const std::string& file : training.files)
    MOE_CHECK(exists(file) && !is_directory(file), "[tokenizer train] ", printable(file),
              is_directory(file) ? " is a folder; give files" : ": there is no such file");
  const double start = real_clock().monotonic_seconds();
  const TrainedTokenizer trained = train_with_progress(training, json);
  write_tokenizer(*trained.tokenizer, out);
  const double seconds = real_clock().monotonic_seconds() - start;
  const int64_t vocab = trained.tokenizer->vocab_size();
  if (json) {
    print_json({{"out", out},
                {"kind", trained.tokenizer->kind()},
                {"vocab_size", vocab},
                {"bytes", trained.bytes},
                {"words", trained.n_words},
                {"seconds", seconds},
                {"peak_resident_bytes", peak_resident_bytes()}});
    return 0;
  }
  print_line(str("wrote ", out, ": ", trained.tokenizer->kind(), ", ", with_commas(vocab),
                 " ids, from ", human_bytes(trained.bytes), " of text with ",
                 with_commas(trained.n_words), " different pieces, in ", human_seconds(seconds)));
  if (vocab < training.vocab_size && training.type != "byte" && training.type != "char")
    print_line(str("The text has no more pairs to join: ", with_commas(vocab), " ids and not ",
                   with_commas(training.vocab_size),
                   ". Give more text, or a smaller --vocab-size"));
  return 0;
}

/// The tokens of a text as they are spelled, e.g. "un|happi|ness".
std::string cut_text(const Tokenizer& tokenizer, const std::string& text) {
  const TokenizerSpec* spec = tokenizer.spec();
  const bool spelled = spec && spec->model.kind != TokenModelKind::bpe;
  std::string out;
  for (const TokenId id : tokenizer.encode(text)) {
    if (!out.empty()) out += '|';
    const bool in_model = spelled && static_cast<size_t>(id) < spec->model.vocab.size();
    out += printable(in_model ? std::string_view(spec->model.vocab[static_cast<size_t>(id)])
                              : tokenizer.token_bytes(id));
  }
  return out;
}

std::vector<int64_t> sizes_of(const std::string& text) {
  std::vector<int64_t> out;
  for (const std::string& word : split(text, ',')) {
    int64_t n = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), n);
    if (word.empty() || error != std::errc() || end != word.data() + word.size() || n < 1)
      throw Error(
          str("--vocab-sizes: '", printable(word, 30), "' is no number; give e.g. 500,1000"),
          ExitCode::usage);
    out.push_back(n);
  }
  return out;
}

struct CompareOptions {
  std::vector<std::string> tokenizers;
  std::string train, types = "bpe,wordpiece,unigram", sizes = "1000", file,
                     text = "unhappiness unhappily unhappy";
  bool json = false;
  MachineOptions machine;
};

int run_compare(const CompareOptions& o) {
  o.machine.apply();
  std::vector<std::pair<std::string, std::shared_ptr<const Tokenizer>>> all;
  for (const std::string& name : o.tokenizers) all.emplace_back(name, open_any_tokenizer(name, ""));
  if (!o.train.empty()) {
    for (const std::string& type : split(o.types, ','))
      for (const int64_t size : sizes_of(o.sizes)) {
        TokenizerTraining training{.type = trim(type), .vocab_size = size};
        training.files = {o.train};
        if (training.type != "bpe") training.special_tokens.clear();
        TrainedTokenizer trained = train_with_progress(training, o.json);
        all.emplace_back(str(training.type, " ", with_commas(size)), std::move(trained.tokenizer));
      }
  }
  if (all.empty())
    throw Error("[tokenizer compare] nothing to compare: give tokenizers, or --train FILE",
                ExitCode::usage);
  const std::string measured = o.file.empty() ? o.train : o.file;
  const std::string text = measured.empty() ? std::string() : read_file(measured);
  Table table(text.empty() ? std::vector<std::string>{"tokenizer", "ids", "cut"}
                           : std::vector<std::string>{"tokenizer", "ids", "bytes/token",
                                                      "tokens/word", "unknown", "ids used", "cut"});
  JsonArray rows;
  for (const auto& [name, tokenizer] : all) {
    const std::string cut = cut_text(*tokenizer, o.text);
    JsonObject row{{"tokenizer", name}, {"vocab_size", tokenizer->vocab_size()}, {"cut", cut}};
    if (text.empty()) {
      table.row({name, with_commas(tokenizer->vocab_size()), cut});
    } else {
      const TextMeasure m = measure(*tokenizer, text);
      const double unknown = m.words ? double(m.unknown) / double(m.words) : 0;
      row["tokens"] = m.tokens;
      row["bytes_per_token"] = m.bytes_per_token();
      row["fertility"] = m.fertility();
      row["unknown"] = m.unknown;
      row["unknown_per_word"] = unknown;
      row["used_ids"] = m.used;
      table.row(
          {name, with_commas(tokenizer->vocab_size()), fmt::format("{:.3f}", m.bytes_per_token()),
           fmt::format("{:.3f}", m.fertility()), fmt::format("{:.2f} %", 100 * unknown),
           fmt::format("{:.0f} %", 100 * double(m.used) / double(tokenizer->vocab_size())), cut});
    }
    rows.push_back(std::move(row));
  }
  if (o.json)
    print_json({{"text", o.text}, {"file", measured}, {"tokenizers", std::move(rows)}});
  else
    print_line(table.text());
  return 0;
}

}  // namespace

TokenizerCommand add_tokenizer_train(CLI::App& parent) {
  struct Options {
    TokenizerTraining training;
    std::string out;
    std::vector<std::string> specials;
    int64_t min_frequency = 0;
    bool json = false;
    MachineOptions machine;
  };
  auto o = std::make_shared<Options>();
  CLI::App* app = parent.add_subcommand("train", "Learn a tokenizer from text files");
  app->add_option("files,--file", o->training.files, "text files")->required();
  app->add_option("--type", o->training.type, "bpe (byte-level), wordpiece, unigram, char or byte")
      ->capture_default_str();
  app->add_option("--vocab-size", o->training.vocab_size,
                  "ids in all: special tokens, bytes or characters, learned tokens")
      ->capture_default_str();
  app->add_option("--min-frequency", o->min_frequency,
                  "a pair seen less often does not become a token")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str();
  app->add_option("--special", o->specials,
                  "a special token; may be given several times (default: <|endoftext|>)");
  app->add_option(
         "--pattern", o->training.pattern,
         "bpe: how text is cut: gpt2, cl100k, llama3, qwen2, o200k ... or a regular expression")
      ->capture_default_str();
  app->add_option(
         "--tie", o->training.tie,
         "bpe: which of equally frequent pairs comes first: hf and rustbpe take the smaller "
         "ids (each in its own order of ids), minbpe and tiktoken the one seen first")
      ->capture_default_str();
  app->add_flag("--by-line", o->training.by_line,
                "bpe: each line is a text of its own, as the trainer of `tokenizers` reads files");
  app->add_flag("--lowercase", o->training.lowercase, "wordpiece: lower case, accents dropped");
  app->add_flag("--likelihood", o->training.likelihood,
                "wordpiece: join the pair with the highest count(ab) / (count(a) count(b))");
  app->add_flag("--byte-fallback", o->training.byte_fallback,
                "unigram: byte tokens for what is unknown");
  app->add_option("--out", o->out, "folder for tokenizer.json, or a .json file")->required();
  app->add_flag("--json", o->json, "one JSON object");
  o->machine.add(*app);
  return {app, [o] {
            o->machine.apply();
            if (!o->specials.empty()) o->training.special_tokens = o->specials;
            o->training.min_frequency = static_cast<uint64_t>(o->min_frequency);
            return run_train(o->training, o->out, o->json);
          }};
}

TokenizerCommand add_tokenizer_compare(CLI::App& parent) {
  auto o = std::make_shared<CompareOptions>();
  CLI::App* app = parent.add_subcommand(
      "compare", "How tokenizers cut a text, how many tokens they need, what they do not know");
  app->add_option("tokenizers", o->tokenizers, "files, folders, or byte");
  app->add_option("--train", o->train, "train tokenizers on this file and compare them");
  app->add_option("--types", o->types, "of those")->capture_default_str();
  app->add_option("--vocab-sizes", o->sizes, "of those, e.g. 500,1000,2000")->capture_default_str();
  app->add_option("--file", o->file, "measure on this text (default: the one of --train)");
  app->add_option("--text", o->text, "show how this is cut")->capture_default_str();
  app->add_flag("--json", o->json, "one JSON object");
  o->machine.add(*app);
  return {app, [o] { return run_compare(*o); }};
}

}  // namespace moe
