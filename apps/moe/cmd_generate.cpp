// SPDX-License-Identifier: MIT
#include <iostream>
#include <map>
#include <memory>
#include <unistd.h>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/log.h"
#include "moe/chat/stop_strings.h"
#include "moe/families/model_folder.h"
#include "moe/infer/generate.h"
#include "moe/text/utf8_stream.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

struct Options {
  std::string folder, prompt, prompts_file, ids;
  std::vector<std::string> stops;
  int64_t n = 200, seed = 1;
  SamplerConfig sampler;
  bool json = false;
  AdapterOptions adapters;
  MachineOptions machine;
};

std::string read_stdin() {
  std::string text;
  char buffer[65536];
  for (ssize_t got; (got = read(0, buffer, sizeof buffer)) > 0;) text.append(buffer, size_t(got));
  return text;
}

JsonObject result_json(const GenerateResult& result, const std::string& text, bool stopped) {
  JsonArray ids(result.ids.begin(), result.ids.end());
  return {{"ids", ids},
          {"text", text},
          {"finish_reason", stopped ? "stop" : finish_reason_name(result.reason)}};
}

// Text of a result: up to the first stop string.
std::pair<std::string, bool> finished_text(const ModelFolder& folder, const GenerateResult& result,
                                           const std::vector<std::string>& stops) {
  if (!folder.tokenizer) return {"", false};
  StopStrings scanner(stops);
  std::string text = scanner.push(folder.tokenizer->decode(result.ids));
  if (!scanner.stopped()) text += scanner.finish();
  return {text, scanner.stopped()};
}

int run_batch(const Options& o, const ModelFolder& folder) {
  const Tokenizer& tokenizer = folder.need_tokenizer();
  std::vector<std::string> prompts = split(read_file(o.prompts_file), '\n');
  for (std::string& prompt : prompts)
    if (ends_with(prompt, "\r")) prompt.pop_back();  // a line's end as Windows writes it
  if (!prompts.empty() && prompts.back().empty()) prompts.pop_back();
  MOE_CHECK(!prompts.empty(), "[generate] ", o.prompts_file, " holds no prompt; give one a line");
  std::vector<GenerateRequest> requests;
  std::map<std::string, int64_t> n_times;  // equal prompts get samples 0, 1, 2 ...
  std::vector<StopStrings> scanners(prompts.size(), StopStrings(o.stops));
  for (size_t i = 0; i < prompts.size(); ++i) {
    MOE_CHECK(!prompts[i].empty(), "[generate] ", o.prompts_file, ": line ", i + 1, " is empty");
    requests.push_back({.prompt_ids = tokenizer.encode(prompts[i]),
                        .max_new_tokens = o.n,
                        .sampler = o.sampler,
                        .stop_ids = folder.eos_ids,
                        .key = n_times[prompts[i]]++});
  }
  const std::vector<GenerateResult> results =
      generate(*folder.model, requests, [&](size_t i, int32_t id) {
        scanners[i].push(tokenizer.is_special(id) ? std::string_view() : tokenizer.token_bytes(id));
        return !scanners[i].stopped() && !interrupted();
      });
  JsonArray all;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto [text, stopped] = finished_text(folder, results[i], o.stops);
    if (o.json)
      all.push_back(result_json(results[i], text, stopped));
    else
      print_line(printable(prompts[i] + text, 100000));
  }
  if (o.json) print_json({{"results", all}});
  return interrupted() ? int(ExitCode::interrupted) : 0;
}

int run_one(const Options& o, const ModelFolder& folder) {
  GenerateRequest request{
      .prompt_ids = {}, .max_new_tokens = o.n, .sampler = o.sampler, .stop_ids = folder.eos_ids};
  std::string prompt;
  if (!o.ids.empty()) {
    request.prompt_ids = parse_ids(o.ids);
  } else {
    prompt = o.prompt == "-" ? read_stdin() : o.prompt;
    MOE_CHECK(!prompt.empty(),
              "[generate] the prompt is empty; give text with -p, or token ids with --ids");
    request.prompt_ids = folder.need_tokenizer().encode(prompt);
  }
  const Tokenizer* tokenizer = folder.tokenizer.get();
  // Text streams as it comes, held back where a character or a stop string is not complete yet;
  // without a tokenizer, ids do.
  StopStrings scanner(o.stops);
  Utf8Stream utf8;
  const bool stream = !o.json;
  auto show = [&](const std::string& text) {
    if (!stream || text.empty()) return;
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
      throw Error("cannot write to standard output; it is closed or full", ExitCode::io);
  };
  if (tokenizer && o.ids.empty()) show(prompt);
  bool first = true;
  const GenerateResult result = generate(*folder.model, {request}, [&](size_t, int32_t id) {
    if (!tokenizer) {
      show((first ? "" : ",") + std::to_string(id));
      first = false;
      return !interrupted();
    }
    if (!tokenizer->is_special(id)) show(utf8.push(scanner.push(tokenizer->token_bytes(id))));
    return !scanner.stopped() && !interrupted();
  })[0];
  if (tokenizer)
    show(utf8.push(scanner.stopped() ? std::string() : scanner.finish()) + utf8.finish());
  show("\n");
  if (o.json) {
    const auto [text, stopped] = finished_text(folder, result, o.stops);
    print_json(result_json(result, text, stopped));
  }
  return interrupted() ? int(ExitCode::interrupted) : 0;
}

}  // namespace

RunCommand add_generate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("DIR", o->folder, "run folder, checkpoint or Hugging Face folder")->required();
  auto* prompt =
      app.add_option("-p,--prompt", o->prompt, "text to continue; - reads standard input");
  auto* prompts = app.add_option("--prompts", o->prompts_file,
                                 "file with one prompt a line: all run as one batch");
  auto* ids = app.add_option("--ids", o->ids, "token ids to continue, 1,2,3; needs no tokenizer");
  prompt->excludes(prompts)->excludes(ids);
  prompts->excludes(ids);
  app.add_option("-n,--max-tokens", o->n, "new tokens at most")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--temp,--temperature", o->sampler.temperature, "0: greedy")
      ->capture_default_str();
  app.add_option("--top-k", o->sampler.top_k, "draw among the k best; 0: off")
      ->capture_default_str();
  app.add_option("--top-p", o->sampler.top_p, "draw among the smallest set with this mass; 1: off")
      ->capture_default_str();
  app.add_option("--min-p", o->sampler.min_p,
                 "draw among those with this share of the best one's probability; 0: off")
      ->capture_default_str();
  add_seed_option(app, "-s,--seed", o->seed, "seed of the draws")->capture_default_str();
  app.add_option("--stop", o->stops, "end before this text; may be given several times")
      ->allow_extra_args(false);
  app.add_flag("--json", o->json,
               "{\"ids\": [new ids], \"text\": ..., \"finish_reason\": \"stop|length\"}");
  o->adapters.add(app);
  o->machine.add(app);
  return [o] {
    o->sampler.seed = uint64_t(o->seed);
    check_sampler(o->sampler);
    if (o->prompt.empty() && o->prompts_file.empty() && o->ids.empty())
      throw Error("nothing to continue; give -p TEXT, --prompts FILE or --ids 1,2,3",
                  ExitCode::usage);
    for (const std::string& stop : o->stops)
      if (stop.empty()) throw Error("--stop: the text is empty", ExitCode::usage);
    o->machine.apply();
    ModelFolder folder = load_model_folder(o->folder);
    o->adapters.apply(folder);
    check_can_generate(*folder.model);
    if (!o->stops.empty() && !folder.tokenizer)
      throw Error("--stop needs text, and this model has none: " + folder.no_tokenizer_reason,
                  ExitCode::usage);
    catch_interrupts();
    return o->prompts_file.empty() ? run_one(*o, folder) : run_batch(*o, folder);
  };
}

}  // namespace moe
