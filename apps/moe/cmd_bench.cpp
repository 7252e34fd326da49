// SPDX-License-Identifier: MIT
#include <charconv>
#include <memory>

#include "moe/base/error.h"
#include "moe/report/table.h"
#include "moe/study/bench.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

struct Options {
  std::string what, batches;
  BenchOptions bench;
  bool json = false;
  MachineOptions machine;
};

std::vector<int64_t> parse_batches(const std::string& text) {
  if (text.empty()) return {0};
  std::vector<int64_t> out;
  for (const std::string& part : split(text, ',')) {
    const std::string word = trim(part);
    int64_t n = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), n);
    if (word.empty() || error != std::errc() || end != word.data() + word.size() || n < 1 ||
        n > 65536)
      throw Error(
          str("--batch: '", printable(word, 30), "' is no number of sequences; give 16 or 1,4,16"),
          ExitCode::usage);
    out.push_back(n);
  }
  return out;
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
                 human_bytes(uint64_t(r.peak_bytes)), "\n"));
  Table table({"phase", "ms a step", "share"});
  for (const BenchPhase& p : r.phases)
    if (p.share >= 0.0005)
      table.row(
          {p.name, fmt::format("{:.3f}", 1e3 * p.seconds), fmt::format("{:.1f} %", 100 * p.share)});
  print_line(table.text());
}

}  // namespace

RunCommand add_bench(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("WHAT", o->what, "train | decode | prefill")
      ->required()
      ->check(CLI::IsMember({"train", "decode", "prefill"}));
  app.add_option("--shape", o->bench.shape, "mixtral, fine, nanogpt or a configuration file")
      ->capture_default_str();
  app.add_option("changes", o->bench.overrides, "key=value changes of the configuration");
  app.add_option(
      "--batch,--batch_sizes,--batch-sizes", o->batches,
      "sequences of a step, or several values: 1,4,16; default: 16 to train, 1 to decode");
  app.add_option("--steps", o->bench.steps, "timed steps; 0: some seconds' worth")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--prompt", o->bench.prompt, "decode: tokens of the prompt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--tokens", o->bench.tokens, "decode: new tokens")
      ->check(CLI::Range(21, 1 << 20))
      ->capture_default_str();
  app.add_flag("--json", o->json, "one JSON object (with several batches: {\"results\": [...]})");
  o->machine.add(app);
  return [o] {
    o->machine.apply();
    const std::vector<int64_t> batches = parse_batches(o->batches);
    JsonArray results;
    for (const int64_t batch : batches) {
      BenchOptions options = o->bench;
      options.batch = batch;
      const BenchResult r = o->what == "train"    ? bench_train(options)
                            : o->what == "decode" ? bench_decode(options)
                                                  : bench_prefill(options);
      if (o->json)
        results.push_back(to_json(r));
      else
        print(r);
    }
    if (o->json)
      print_json(batches.size() == 1 ? results.front().get_object()
                                     : JsonObject{{"results", results}});
    return 0;
  };
}

}  // namespace moe
