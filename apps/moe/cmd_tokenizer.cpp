// SPDX-License-Identifier: MIT
// moe tokenizer: encode, decode, look into, convert. Training and comparing are in
// cmd_tokenizer_train.cpp.
#include "apps/moe/cmd_tokenizer.h"

#include <charconv>
#include <cstdio>
#include <fmt/format.h>
#include <iostream>
#include <memory>
#include <unistd.h>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/mmap_file.h"
#include "moe/base/progress.h"
#include "moe/report/table.h"
#include "moe/text/encode_batch.h"
#include "moe/text/tokenizer_files.h"
#include "moe/text/tokenizer_json.h"
#include "moe/text/utf8_stream.h"

#include "apps/moe/command.h"

namespace moe {

std::shared_ptr<const Tokenizer> open_any_tokenizer(const std::string& name,
                                                    const std::string& pattern) {
  if (name == "byte") return make_byte_tokenizer();
  MOE_CHECK(exists(name), "[tokenizer] '", printable(name),
            "' is neither byte nor a file or folder that exists");
  return read_tokenizer(name, pattern);
}

namespace {

struct Options {
  std::string tokenizer, file, pattern, out;
  std::vector<std::string> words;
  bool json = false, count = false, parse_special = false, add_special = false, lines = false,
       json_strings = false, show_special = false;
  MachineOptions machine;
};

std::string input_of(const Options& o) {
  if (!o.file.empty() && o.file != "-") return read_file(o.file);
  if (!o.words.empty()) return join(o.words, " ");
  return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    lines.push_back(text.substr(0, text.find('\n')));
    text.remove_prefix(std::min(text.size(), lines.back().size() + 1));
  }
  return lines;
}

std::string ids_line(const std::vector<TokenId>& ids) {
  std::string out;
  for (const TokenId id : ids) {
    if (!out.empty()) out += ' ';
    out += std::to_string(id);
  }
  return out;
}

void add_frame(const Tokenizer& tokenizer, std::vector<TokenId>& ids) {
  const TokenizerSpec* spec = tokenizer.spec();
  if (!spec) return;
  const SpecialFrame frame = read_post_processor(spec->post_processor, "[tokenizer]");
  ids.insert(ids.begin(), frame.before.begin(), frame.before.end());
  ids.insert(ids.end(), frame.after.begin(), frame.after.end());
}

int run_encode(const Options& o) {
  o.machine.apply();
  const auto tokenizer = open_any_tokenizer(o.tokenizer, o.pattern);
  const std::string text = input_of(o);
  const SpecialTokens specials = o.parse_special ? SpecialTokens::parse : SpecialTokens::as_text;
  std::vector<std::vector<TokenId>> all;
  if (o.lines || o.json_strings) {
    std::vector<std::string_view> lines = lines_of(text);
    std::vector<std::string> strings;
    for (size_t i = 0; o.json_strings && i < lines.size(); ++i) {
      const Json line = parse_json(lines[i], str("[tokenizer] line ", i + 1));
      MOE_CHECK(line.is_string(), "[tokenizer] line ", i + 1, " is no JSON string");
      strings.emplace_back(line.as_string());
    }
    if (o.json_strings) lines.assign(strings.begin(), strings.end());
    all = encode_batch(*tokenizer, lines, specials);
  } else {
    constexpr size_t kLong = size_t{8} << 20;
    ProgressLine progress(text.size() < kLong ? ProgressLine::Style::silent
                                              : ProgressLine::Style::automatic);
    all.push_back(encode_text(*tokenizer, text, specials, [&](uint64_t done) {
      progress.update(str(progress_bar(double(done) / double(text.size()), 20), " encoding, ",
                          human_bytes(done), " of ", human_bytes(text.size())));
    }));
    progress.finish();
  }
  int64_t n = 0;
  for (std::vector<TokenId>& ids : all) {
    if (o.add_special) add_frame(*tokenizer, ids);
    n += std::ssize(ids);
  }
  if (o.count) {
    if (o.json)
      print_json({{"count", n}, {"bytes", text.size()}});
    else
      print_line(std::to_string(n));
    return 0;
  }
  for (const std::vector<TokenId>& ids : all) {
    if (o.json)
      print_line(str(
          "{\"ids\": [",
          [&] {
            std::string line = ids_line(ids), out;
            for (const char c : line) c == ' ' ? out += ", " : out += c;
            return out;
          }(),
          "]}"));
    else
      print_line(ids_line(ids));
  }
  return 0;
}

/// Whole numbers in a text, whatever stands between them: "1 2 3", "[1, 2, 3]", {"ids": [1, 2]}.
std::vector<TokenId> ids_in(std::string_view text) {
  std::vector<TokenId> ids;
  for (size_t i = 0; i < text.size();) {
    if (text[i] < '0' || text[i] > '9') {
      MOE_CHECK(text[i] != '-' && text[i] != '.', "[tokenizer] '", printable(text.substr(i), 20),
                "' is no token id");
      ++i;
      continue;
    }
    TokenId id = 0;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + text.size(), id);
    MOE_CHECK(error == std::errc(), "[tokenizer] '", printable(text.substr(i), 20),
              "' is no token id");
    ids.push_back(id);
    i = static_cast<size_t>(end - text.data());
  }
  return ids;
}

std::string text_of(const Tokenizer& tokenizer, const std::vector<TokenId>& ids,
                    bool show_special) {
  if (!show_special) return tokenizer.decode(ids);
  std::string text;
  for (size_t i = 0; i < ids.size();) {  // runs between special tokens
    size_t end = i;
    while (end < ids.size() && !tokenizer.is_special(ids[end])) ++end;
    text += tokenizer.decode(std::span(ids).subspan(i, end - i));
    if (end < ids.size()) text += tokenizer.token_bytes(ids[end++]);
    i = end;
  }
  return text;
}

std::string as_utf8(std::string_view bytes) {
  Utf8Stream utf8;
  std::string text = utf8.push(bytes);
  return text += utf8.finish();
}

int run_decode(const Options& o) {
  const auto tokenizer = open_any_tokenizer(o.tokenizer, o.pattern);
  const std::string input = input_of(o);
  if (o.lines) {
    for (const std::string_view line : lines_of(input))
      print_json({{"text", as_utf8(text_of(*tokenizer, ids_in(line), o.show_special))}});
    return 0;
  }
  std::string text = text_of(*tokenizer, ids_in(input), o.show_special);
  if (o.json) {
    print_json({{"text", as_utf8(text)}});
    return 0;
  }
  // Exactly the text; a terminal's prompt begins on a line of its own.
  if (is_terminal(1)) text += '\n';
  std::fwrite(text.data(), 1, text.size(), stdout);
  MOE_CHECK(std::fflush(stdout) == 0, "[tokenizer] cannot write to stdout");
  return 0;
}

std::string type_text(const Json& part) {
  const JsonObject* object = part.if_object();
  if (!object) return "none";
  const Json* type = object->if_contains("type");
  std::string out = type && type->is_string() ? std::string(type->as_string()) : "?";
  for (const char* key : {"normalizers", "pretokenizers", "decoders", "processors"}) {
    const Json* list = object->if_contains(key);
    if (!list || !list->is_array()) continue;
    std::vector<std::string> names;
    for (const Json& item : list->as_array()) names.push_back(type_text(item));
    out = join(names, ", ");
  }
  return out;
}

int run_inspect(const Options& o) {
  o.machine.apply();
  const auto tokenizer = open_any_tokenizer(o.tokenizer, o.pattern);
  const TokenizerSpec* spec = tokenizer->spec();
  int64_t bytes = 0, present = 0, specials = 0;
  std::vector<std::pair<size_t, TokenId>> longest;
  for (TokenId id = 0; id < tokenizer->vocab_size(); ++id) {
    const std::string_view text = tokenizer->token_bytes(id);
    if (tokenizer->is_special(id)) {
      ++specials;
      continue;
    }
    if (text.empty()) continue;
    ++present;
    bytes += std::ssize(text);
    longest.emplace_back(text.size(), id);
  }
  std::partial_sort(longest.begin(),
                    longest.begin() + std::min<std::ptrdiff_t>(8, std::ssize(longest)),
                    longest.end(), [](const auto& a, const auto& b) {
                      return a.first != b.first ? a.first > b.first : a.second < b.second;
                    });
  longest.resize(std::min<size_t>(8, longest.size()));
  JsonObject out{{"kind", tokenizer->kind()},
                 {"vocab_size", tokenizer->vocab_size()},
                 {"special_tokens", specials},
                 {"mean_token_bytes", present ? double(bytes) / double(present) : 0.0}};
  out["bos_id"] = tokenizer->bos_id() ? Json(*tokenizer->bos_id()) : Json(nullptr);
  out["eos_id"] = tokenizer->eos_id() ? Json(*tokenizer->eos_id()) : Json(nullptr);
  Table table({"", ""});
  table.row({"model", tokenizer->kind()});
  table.row({"vocabulary", with_commas(tokenizer->vocab_size()) + " ids"});
  if (spec) {
    out["merges"] = spec->model.merges.size();
    out["normalizer"] = type_text(spec->normalizer);
    out["pre_tokenizer"] = type_text(spec->pre_tokenizer);
    out["post_processor"] = type_text(spec->post_processor);
    out["decoder"] = type_text(spec->decoder);
    out["has_chat_template"] = !spec->chat_template.empty();
    if (spec->model.kind == TokenModelKind::bpe)
      table.row({"merges", with_commas(std::ssize(spec->model.merges))});
    for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder"})
      table.row({key, std::string(out[key].as_string())});
    table.row({"chat template", spec->chat_template.empty() ? "none" : "yes"});
  }
  const auto token = [&](std::optional<TokenId> id) {
    return id ? str(*id, " '", printable(tokenizer->token_bytes(*id), 40), "'")
              : std::string("none");
  };
  table.row({"begins a text", token(tokenizer->bos_id())});
  table.row({"ends a text", token(tokenizer->eos_id())});
  table.row({"special tokens", with_commas(specials)});
  table.row({"mean bytes of a token",
             fmt::format("{:.2f}", present ? double(bytes) / double(present) : 0)});
  std::vector<std::string> names;
  for (const auto& [size, id] : longest)
    names.push_back(str('\'', printable(tokenizer->token_bytes(id), 24), '\''));
  table.row({"longest tokens", join(names, " ")});
  if (!o.file.empty()) {
    const TextMeasure m = measure(*tokenizer, read_file(o.file));
    out["text"] = JsonObject{{"bytes", m.bytes},
                             {"tokens", m.tokens},
                             {"bytes_per_token", m.bytes_per_token()},
                             {"fertility", m.fertility()},
                             {"unknown", m.unknown},
                             {"used_tokens", m.used}};
    table.row({"tokens of the file", with_commas(m.tokens)});
    table.row({"bytes a token", fmt::format("{:.3f}", m.bytes_per_token())});
    table.row({"tokens a word", fmt::format("{:.3f}", m.fertility())});
    table.row({"unknown tokens", with_commas(m.unknown)});
    table.row({"tokens that occur",
               fmt::format("{} of {}", with_commas(m.used), with_commas(tokenizer->vocab_size()))});
  }
  if (o.json)
    print_json(out);
  else
    print_line(table.text());
  return 0;
}

int run_convert(const Options& o) {
  const auto tokenizer = open_any_tokenizer(o.tokenizer, o.pattern);
  write_tokenizer(*tokenizer, o.out);
  print_line(str("wrote ", o.out, " (", tokenizer->kind(), ", ", tokenizer->vocab_size(), " ids)"));
  return 0;
}

}  // namespace

void write_tokenizer(const Tokenizer& tokenizer, const std::string& out) {
  const bool is_file = ends_with(out, ".json");
  if (!is_file) make_directories(real_fs(), out);
  write_file_atomic(real_fs(), is_file ? out : join_path(out, "tokenizer.json"),
                    tokenizer_to_json(tokenizer));
  if (!is_file)
    write_file_atomic(real_fs(), join_path(out, "tokenizer_config.json"),
                      tokenizer_config_json(tokenizer));
}

TextMeasure measure(const Tokenizer& tokenizer, std::string_view text) {
  TextMeasure m;
  const std::vector<TokenId> ids = encode_text(tokenizer, text);
  m.bytes = std::ssize(text);
  m.tokens = std::ssize(ids);
  bool in_word = false;
  for (const char c : text) {
    const bool blank = c == ' ' || (c >= '\t' && c <= '\r');
    if (!blank && !in_word) ++m.words;
    in_word = !blank;
  }
  std::vector<bool> seen(static_cast<size_t>(tokenizer.vocab_size()));
  const TokenizerSpec* spec = tokenizer.spec();
  const TokenId unk = spec ? spec->model.unk_id.value_or(-1) : -1;
  for (const TokenId id : ids) {
    if (id == unk) ++m.unknown;
    if (!seen[static_cast<size_t>(id)]) ++m.used;
    seen[static_cast<size_t>(id)] = true;
  }
  return m;
}

RunCommand add_tokenizer(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.require_subcommand(1);
  const TokenizerCommand train = add_tokenizer_train(app), compare = add_tokenizer_compare(app);
  const auto add_tokenizer_option = [&](CLI::App* sub) {
    sub->add_option(
           "--tokenizer", o->tokenizer,
           "tokenizer.json, SentencePiece .model, tiktoken, tekken.json or vocab.json file, "
           "a folder with one, or byte")
        ->required();
    sub->add_option("--pattern", o->pattern,
                    "how a tiktoken file's text is cut: gpt2, cl100k, llama3, o200k, qwen2 or a "
                    "regular expression");
    sub->add_flag("--json", o->json, "JSON");
  };
  CLI::App* encode = app.add_subcommand("encode", "The ids of a text, of a file or of stdin");
  add_tokenizer_option(encode);
  encode->add_option("text", o->words, "the text; without it and without --file, stdin");
  encode->add_option("--file", o->file, "the file whose text is encoded");
  encode->add_flag("--count", o->count, "print how many ids there are");
  encode->add_flag("--lines", o->lines, "each line by itself, without its line end");
  encode->add_flag("--json-strings", o->json_strings,
                   "each line is a JSON string, which is encoded by itself");
  encode->add_flag("--parse-special", o->parse_special,
                   "text of special tokens becomes their ids; otherwise it is text");
  encode->add_flag("--add-special", o->add_special,
                   "add what the tokenizer puts around a text, e.g. its begin token");
  o->machine.add(*encode);
  CLI::App* decode = app.add_subcommand("decode", "The text of ids");
  add_tokenizer_option(decode);
  decode->add_option("ids", o->words, "ids; without them and without --file, stdin");
  decode->add_option("--file", o->file, "a file with ids, as encode prints them");
  decode->add_flag("--lines", o->lines, "each line by itself, as {\"text\": ...}");
  decode->add_flag("--show-special", o->show_special, "print special tokens too");
  CLI::App* inspect =
      app.add_subcommand("inspect", "What a tokenizer is made of, and how it does on a text");
  add_tokenizer_option(inspect);
  inspect->add_option("--file", o->file, "measure bytes a token and tokens a word on this text");
  CLI::App* convert = app.add_subcommand(
      "convert", "Write any tokenizer as tokenizer.json and tokenizer_config.json");
  add_tokenizer_option(convert);
  convert->add_option("--out", o->out, "folder, or a .json file")->required();
  return [=] {
    for (const TokenizerCommand& command : {train, compare})
      if (command.app->parsed()) return command.run();
    if (encode->parsed()) return run_encode(*o);
    if (decode->parsed()) return run_decode(*o);
    if (inspect->parsed()) return run_inspect(*o);
    return run_convert(*o);
  };
}

}  // namespace moe
