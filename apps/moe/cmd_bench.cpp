// SPDX-License-Identifier: MIT
#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/report/table.h"
#include "moe/study/bench.h"
#include "moe/study/bench_kernels.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

struct Options {
  std::string what, batches, kv_heads, impls = "naive,block,flash";
  BenchOptions bench;
  bool json = false;
  MachineOptions machine;
};

const std::vector<std::string> kWhat = {"train",     "decode", "prefill",
                                        "attention", "gemm",   "optimizer"};
const std::vector<std::string> kImpls = {"naive", "block", "flash"};

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> out;
  for (const std::string& part : split(text, ',')) out.push_back(trim(part));
  return out;
}

// "1,4,16", each 1 ... largest; nothing: no numbers.
std::vector<int64_t> parse_numbers(const char* flag, const std::string& text, int64_t largest) {
  std::vector<int64_t> out;
  if (text.empty()) return out;
  for (const std::string& word : words_of(text)) {
    int64_t n = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), n);
    if (word.empty() || error != std::errc() || end != word.data() + word.size() || n < 1 ||
        n > largest)
      throw Error(str(flag, ": '", printable(word, 30), "' is no number from 1 to ", largest,
                      "; give one, or several as 1,4,16"),
                  ExitCode::usage);
    out.push_back(n);
  }
  return out;
}

// One of the valid words, else an error that names the nearest.
void check_word(const char* what, const std::string& word, const std::vector<std::string>& valid) {
  if (std::find(valid.begin(), valid.end(), word) != valid.end()) return;
  const std::string near = nearest_word(word, valid);
  throw Error(str(what, " '", printable(word, 30), "' is not one of ", join(valid, ", "),
                  near.empty() ? "" : str("; did you mean ", near, "?")),
              ExitCode::usage);
}

void print(const BenchResult& r) {
  print_line(fmt::format("{} {}: {} threads, {}, batch {}, {} steps", r.what, r.shape, r.threads,
                         r.kernels, r.batch, r.steps));
  print_line(
      fmt::format("  {:.0f} tokens/s, {:.2f} ms a step", r.tokens_per_second, 1e3 * r.seconds));
  if (r.peak_gflop_per_second > 0)
    print_line(fmt::format("  {:.1f} GFLOP/s, {:.1f} % of the peak of this run ({:.1f} GFLOP/s)",
                           r.gflop_per_second, 100 * r.share_of_peak, r.peak_gflop_per_second));
  if (r.bandwidth_gigabytes_per_second > 0)
    print_line(
        fmt::format("  weights at {:.1f} GB/s; a buffer of their size is read at {:.1f} GB/s{}",
                    r.gigabytes_per_second, r.bandwidth_gigabytes_per_second,
                    r.batch == 1 ? fmt::format(": {:.1f} %", 100 * r.share_of_bandwidth) : ""));
  if (r.optimizer_seconds > 0)
    print_line(fmt::format("  optimiser: {:.2f} ms of the step", 1e3 * r.optimizer_seconds));
  print_line(str("  ", with_commas(r.parameters), " parameters; peak of tensors ",
                 human_bytes(uint64_t(r.peak_bytes)),
                 r.predicted_bytes > 0
                     ? str("; predicted for the process ", human_bytes(uint64_t(r.predicted_bytes)))
                     : "",
                 "\n"));
  Table table({"phase", "ms a step", "share"});
  for (const BenchPhase& p : r.phases)
    if (p.share >= 0.0005)
      table.row(
          {p.name, fmt::format("{:.3f}", 1e3 * p.seconds), fmt::format("{:.1f} %", 100 * p.share)});
  print_line(table.text());
}

void print(const std::vector<KernelTime>& times) {
  Table table({"what", "pass", "ms", "GFLOP/s", "of peak", "GB/s", "of bandwidth"});
  const auto number = [](double x, const char* unit) {
    return x > 0 ? fmt::format("{:.1f}{}", x, unit) : std::string();
  };
  for (const KernelTime& t : times)
    table.row({t.name, t.pass, fmt::format("{:.3f}", 1e3 * t.seconds),
               number(t.gflop_per_second, ""), number(100 * t.share_of_peak, " %"),
               number(t.gigabytes_per_second, ""), number(100 * t.share_of_bandwidth, " %")});
  print_line(table.text());
}

void print(const std::vector<AttentionTime>& times) {
  Table table(
      {"kv heads", "implementation", "ms", "of peak", "scratch", "kv cache", "largest difference"});
  for (const AttentionTime& t : times)
    table.row({std::to_string(t.kv_heads), t.impl, fmt::format("{:.3f}", 1e3 * t.seconds),
               fmt::format("{:.1f} %", 100 * t.share_of_peak),
               human_bytes(uint64_t(t.scratch_bytes)), human_bytes(uint64_t(t.kv_cache_bytes)),
               fmt::format("{:.2g}", t.max_difference)});
  print_line(table.text());
}

template <class Times>
int finish(const Options& o, const Times& times) {
  if (o.json) {
    JsonArray results;
    for (const auto& t : times) results.push_back(to_json(t));
    print_json({{"what", o.what}, {"shape", o.bench.shape}, {"results", results}});
  } else {
    print(times);
  }
  return 0;
}

int run_model(const Options& o, const std::vector<int64_t>& batches) {
  JsonArray results;
  for (const int64_t batch : batches) {
    BenchOptions options = o.bench;
    options.batch = batch;
    const BenchResult r = o.what == "train"    ? bench_train(options)
                          : o.what == "decode" ? bench_decode(options)
                                               : bench_prefill(options);
    if (o.json)
      results.push_back(to_json(r));
    else
      print(r);
  }
  if (o.json)
    print_json(batches.size() == 1 ? results.front().get_object()
                                   : JsonObject{{"what", o.what}, {"results", results}});
  return 0;
}

}  // namespace

RunCommand add_bench(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("WHAT", o->what, "train | decode | prefill | attention | gemm | optimizer")
      ->required();
  app.add_option("changes", o->bench.overrides, "key=value changes of the configuration");
  app.add_option("--shape", o->bench.shape, "mixtral, fine, nanogpt or a configuration file")
      ->capture_default_str();
  app.add_option("--batch,--batch-sizes,--batch_sizes", o->batches,
                 "sequences of a step, or several values: 1,4,16; default: 16 to train, else 1");
  app.add_option("--steps", o->bench.steps, "timed steps; 0: some seconds' worth")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30));
  app.add_option("--prompt", o->bench.prompt, "decode: tokens of the prompt")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  app.add_option("--tokens", o->bench.tokens, "decode: new tokens")
      ->check(CLI::Range(int64_t{21}, int64_t{1} << 30))
      ->capture_default_str();
  app.add_option("--kv-heads,--kv_heads", o->kv_heads, "attention: numbers of kv heads, 8,2,1");
  app.add_option("--impl", o->impls, "attention: naive, block, flash")->capture_default_str();
  app.add_flag("--json", o->json, "one JSON object (several batches: {\"results\": [...]})");
  o->machine.add(app);
  return [o] {
    check_word("[bench]", o->what, kWhat);
    const std::vector<std::string> impls = words_of(o->impls);
    for (const std::string& impl : impls) check_word("--impl", impl, kImpls);
    std::vector<int64_t> batches = parse_numbers("--batch", o->batches, 65536);
    const std::vector<int64_t> kv_heads = parse_numbers("--kv-heads", o->kv_heads, 1024);
    o->machine.apply();
    if (batches.empty()) batches = {0};
    const bool of_model = o->what == "train" || o->what == "decode" || o->what == "prefill";
    if (of_model) return run_model(*o, batches);
    o->bench.batch = batches.front();
    if (o->what == "attention") return finish(*o, bench_attention(o->bench, kv_heads, impls));
    return finish(*o, o->what == "gemm" ? bench_gemm(o->bench) : bench_optimizer(o->bench));
  };
}

}  // namespace moe
