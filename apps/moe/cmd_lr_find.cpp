// SPDX-License-Identifier: MIT
// moe lr-find: one short run whose learning rate grows, and the rate that suits.
#include <algorithm>
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/progress.h"
#include "moe/report/line_chart.h"
#include "moe/report/table.h"
#include "moe/study/trials.h"

#include "apps/moe/command.h"

namespace moe {

RunCommand add_lr_find(CLI::App& app) {
  struct Options {
    std::vector<std::string> arguments;
    std::string out;
    double from = 1e-6, to = 1;
    int64_t steps = 100;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("arguments", o->arguments, "a YAML file, and key=value changes");
  app.add_option("--from", o->from, "first learning rate")
      ->check(CLI::Range(1e-12, 1e3))
      ->capture_default_str();
  app.add_option("--to", o->to, "last learning rate")
      ->check(CLI::Range(1e-12, 1e3))
      ->capture_default_str();
  app.add_option("--steps", o->steps, "steps between them")
      ->check(CLI::Range(int64_t{10}, int64_t{100000}))
      ->capture_default_str();
  app.add_option("--out", o->out, "write the curve as an SVG");
  app.add_flag("--json", o->json, "one JSON object: curve and suggestion");
  return [o] {
    std::vector<std::string> files, keys;
    split_arguments(o->arguments, files, keys);
    if (files.size() > 1 || !(o->from < o->to))
      throw Error("[lr-find] give one configuration, and --from below --to", ExitCode::usage);
    ConfigSource source{.file = files.empty() ? "" : files[0], .overrides = keys};
    if (!source.file.empty() && !exists(source.file))
      throw Error(str("'", printable(source.file), "' does not exist; give a YAML file"),
                  ExitCode::usage);
    exit_on_interrupt();
    ProgressLine progress(o->json ? ProgressLine::Style::silent : ProgressLine::Style::automatic);
    const LrCurve c =
        find_learning_rate(read_run_config(source), o->from, o->to, o->steps, [&](double done) {
          progress.update(progress_bar(done, 20) + " raising the learning rate");
        });
    progress.finish();
    if (!o->out.empty())
      write_file_atomic(
          real_fs(), o->out,
          line_chart({.title = "Loss over the learning rate",
                      .x_label = "learning rate",
                      .y_label = "training loss",
                      .series = {{.name = "loss",
                                  .xs = c.lrs,
                                  .ys = c.losses,
                                  .weight = Series::Weight::faint,
                                  .color = 0},
                                 {.name = "smoothed", .xs = c.lrs, .ys = c.smoothed, .color = 0}},
                      .log_x = true}));
    if (o->json) {
      print_json({{"suggestion", c.suggestion},
                  {"largest", c.largest},
                  {"learning_rates", JsonArray(c.lrs.begin(), c.lrs.end())},
                  {"losses", JsonArray(c.losses.begin(), c.losses.end())}});
      return 0;
    }
    Table table({"learning rate", "loss", "smoothed"});
    for (size_t i = 0; i < c.lrs.size(); i += std::max<size_t>(1, c.lrs.size() / 20))
      table.row({fmt::format("{:.3g}", c.lrs[i]), fmt::format("{:.4f}", c.losses[i]),
                 fmt::format("{:.4f}", c.smoothed[i])});
    print_line(table.text());
    print_line(fmt::format("the loss falls fastest at optim.lr={:.2g}; above {:.2g} it rises",
                           c.suggestion, c.largest));
    return 0;
  };
}

}  // namespace moe
