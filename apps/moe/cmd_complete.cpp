// SPDX-License-Identifier: MIT
#include <iostream>
#include <iterator>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/families/model_folder.h"
#include "moe/infer/generate.h"
#include "moe/text/fill_in_middle.h"
#include "moe/text/utf8_stream.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

struct Options {
  std::string folder, file;
  int64_t line = 0, n = 128, lines = 0, seed = 1;
  bool json = false;
  SamplerConfig sampler;
  AdapterOptions adapters;
  MachineOptions machine;
};

/// Where line n, counted from 1, ends: behind its last character.
size_t end_of_line(const std::string& text, int64_t n, const std::string& file) {
  size_t at = 0;
  for (int64_t i = 1;; ++i) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (i == n) return end;
    MOE_CHECK(end < text.size(), "[complete] ", printable(file), " has ", i, " lines, no line ", n);
    at = end + 1;
  }
}

std::string whole_characters(const std::string& bytes) {
  Utf8Stream utf8;
  const std::string text = utf8.push(bytes);
  return text + utf8.finish();
}

int complete(const Options& o) {
  o.machine.apply();
  ModelFolder folder = load_model_folder(o.folder);
  o.adapters.apply(folder);
  check_can_generate(*folder.model);
  const Tokenizer& tokenizer = folder.need_tokenizer();
  std::string text = o.file == "-" ? std::string(std::istreambuf_iterator<char>(std::cin), {})
                                   : read_file(o.file, uint64_t{64} << 20);
  MOE_CHECK(!text.empty(), "[complete] ", printable(o.file), " is empty");
  const size_t cut = o.line > 0 ? end_of_line(text, o.line, o.file) : text.size();
  const std::string suffix = text.substr(cut);
  text.resize(cut);
  const std::optional<FimMarkers> markers = find_fim_markers(tokenizer);
  const bool fills = markers && suffix.find_first_not_of(" \n\r\t") != std::string::npos;

  // The nearest of what does not fit is kept: the end of the prefix, the beginning of the suffix.
  std::vector<TokenId> before = tokenizer.encode(text), after;
  if (fills) after = tokenizer.encode(suffix);
  const int64_t context = folder.model->config().max_seq_len,
                room = std::max<int64_t>(1, context - std::min(o.n, context / 2) - (fills ? 3 : 0));
  const int64_t most_after = std::min<int64_t>(std::ssize(after), room / 3);
  after.resize(size_t(most_after));
  if (std::ssize(before) > room - most_after)
    before.erase(before.begin(), before.end() - (room - most_after));
  MOE_CHECK(fills || !before.empty(), "[complete] nothing stands before that place");

  GenerateRequest request{.prompt_ids = fills ? fim_prompt(*markers, before, after) : before,
                          .max_new_tokens = o.n,
                          .sampler = o.sampler,
                          .stop_ids = folder.eos_ids};
  std::string out;
  int64_t n_lines = 0;
  const GenerateResult result = generate(*folder.model, {request}, [&](size_t, int32_t id) {
    if (tokenizer.is_special(id)) return false;  // a marker ends what is filled in
    const std::string_view bytes = tokenizer.token_bytes(id);
    out += bytes;
    n_lines += std::count(bytes.begin(), bytes.end(), '\n');
    return (o.lines == 0 || n_lines < o.lines) && !interrupted();
  })[0];
  if (o.lines > 0) {
    size_t at = 0;
    for (int64_t i = 0; i < o.lines && at != std::string::npos; ++i)
      at = out.find('\n', at + (i > 0 ? 1 : 0));
    if (at != std::string::npos) out.resize(at);
  }
  if (o.json)
    print_json({{"completion", whole_characters(out)},
                {"fill_in_the_middle", fills},
                {"finish_reason", finish_reason_name(result.reason)}});
  else
    print_line(out);
  return interrupted() ? int(ExitCode::interrupted) : 0;
}

}  // namespace

RunCommand add_complete(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("DIR", o->folder, "run folder, checkpoint, Hugging Face folder or adapter")
      ->required();
  app.add_option("FILE", o->file, "text or code to go on with; - reads standard input")->required();
  app.add_option("--line", o->line,
                 "complete behind this line; what follows it is read too where the tokenizer has "
                 "markers for that; default: the file's end")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  app.add_option("--lines", o->lines, "lines at most; 0: as many as come")
      ->check(CLI::NonNegativeNumber);
  app.add_option("-n,--max-tokens", o->n, "new tokens at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  o->sampler.temperature = 0;
  app.add_option("--temp,--temperature", o->sampler.temperature, "0: greedy")
      ->capture_default_str();
  add_seed_option(app, "-s,--seed", o->seed, "seed of the draws")->capture_default_str();
  app.add_flag("--json", o->json, "{\"completion\", \"fill_in_the_middle\", \"finish_reason\"}");
  o->adapters.add(app);
  o->machine.add(app);
  return [o] {
    o->sampler.seed = uint64_t(o->seed);
    check_sampler(o->sampler);
    catch_interrupts();
    return complete(*o);
  };
}

}  // namespace moe
