// SPDX-License-Identifier: MIT
// The demo: a small MoE model learns five subjects, sits an exam on unseen prompts, and shows which
// expert took up which subject.
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/log.h"
#include "moe/base/progress.h"
#include "moe/data/demo_corpus.h"
#include "moe/eval/demo_exam.h"
#include "moe/families/model_folder.h"
#include "moe/report/heat_map.h"
#include "moe/report/table.h"

#include "apps/moe/train_options.h"

namespace moe {
namespace {

// The demo's own recipe: what two CPU cores learn in two minutes. Any key can be changed on the
// command line.
const std::vector<std::string> kRecipe = {
    "model.n_layers=4",      "model.d_model=128",        "model.n_heads=4",
    "model.n_kv_heads=4",    "model.head_dim=32",        "model.max_seq_len=256",
    "model.moe.n_experts=8", "model.moe.top_k=2",        "model.moe.d_ff=192",
    "data.path=demo",        "data.tokenizer=byte",      "data.seq_len=256",
    "optim.name=muon",       "optim.lr=8.0e-3",          "optim.min_lr=1.0e-5",
    "optim.warmup_steps=30", "optim.schedule=linear",    "train.steps=100000",
    "train.minutes=2.4",     "train.batch_size=4",       "train.eval_every=400",
    "train.eval_windows=32", "train.checkpoint_every=0", "train.keep=1"};

constexpr int64_t kShuffles = 1000;

// Share of each expert's picks that belong to each subject, all layers together.
HeatMap subject_map(const DemoRoutes& routes, size_t layer) {
  HeatMap map{.title = str("layer ", routes.layers[layer], ": what each expert's tokens are about"),
              .row_label = "expert",
              .column_label = "subject",
              .rows = {},
              .columns = demo_subject_names(),
              .values = {},
              .format = {.decimals = 0, .percent = true}};
  map.min = 0;
  map.max = 1;
  for (size_t e = 0; e < routes.picks[layer].size(); ++e) {
    double total = 0;
    for (const int64_t n : routes.picks[layer][e]) total += double(n);
    std::vector<double> row;
    for (const int64_t n : routes.picks[layer][e]) row.push_back(total > 0 ? double(n) / total : 0);
    map.rows.push_back(std::to_string(e));
    map.values.push_back(row);
  }
  return map;
}

JsonObject to_json(const std::vector<SubjectScore>& scores, const Specialization* s) {
  JsonObject subjects;
  for (const SubjectScore& score : scores)
    subjects[score.subject] = JsonObject{{"correct", score.correct}, {"asked", score.asked}};
  JsonObject o = {{"subjects", subjects}};
  if (s) {
    JsonArray layers(s->nmi_of_layer.begin(), s->nmi_of_layer.end());
    o["specialization"] = JsonObject{{"nmi", s->nmi},
                                     {"nmi_of_layer", layers},
                                     {"shuffled_mean", s->shuffled_mean},
                                     {"shuffled_p99", s->shuffled_p99},
                                     {"shuffles", s->n_shuffles}};
  }
  return o;
}

}  // namespace

RunCommand add_demo(CLI::App& app) {
  struct Options {
    std::vector<std::string> arguments;
    bool json = false, resume = false;
    int64_t questions = 200;
    int threads = -1;
    int64_t seed = -1;
  };
  auto o = std::make_shared<Options>();
  app.add_option("arguments", o->arguments, "key=value changes of the demo's recipe");
  app.add_option("--questions", o->questions, "unseen prompts asked of each subject")
      ->check(CLI::Range(1, 2000));
  app.add_flag("--resume", o->resume, "continue the run in run_dir");
  app.add_flag("--json", o->json, "the results as one JSON object on stdout");
  app.add_option("--threads", o->threads, "same as train.threads=N")->check(CLI::Range(0, 1024));
  add_seed_option(app, "--seed", o->seed, "same as train.seed=N");
  return [o] {
    ConfigSource source = config_source(o->arguments, o->resume);
    if (!o->resume && !source.file.empty())
      throw Error("the demo has its own recipe; train another configuration with moe train",
                  ExitCode::usage);
    // A resumed run has the recipe, and what was changed in it, in its own file.
    if (source.file.empty())
      source.overrides.insert(source.overrides.begin(), kRecipe.begin(), kRecipe.end());
    if (o->threads >= 0) source.overrides.push_back(str("train.threads=", o->threads));
    if (o->seed >= 0) source.overrides.push_back(str("train.seed=", o->seed));
    const RunConfig config = read_run_config(source);
    if (config.data.path != "demo")
      throw Error(str("the demo trains on data.path=demo, not ", printable(config.data.path),
                      "; use moe train"),
                  ExitCode::usage);
    RunResult result;
    RunOptions options;
    options.resume = o->resume;
    options.quiet = o->json;
    const int code = train_and_report(config, options, false, &result);
    if (code != 0) return code;

    exit_on_interrupt();
    const ModelFolder folder = load_model_folder(config.run_dir);
    ProgressLine progress(o->json ? ProgressLine::Style::silent : ProgressLine::Style::automatic);
    const std::vector<SubjectScore> scores = demo_exam(
        *folder.model, folder.need_tokenizer(), o->questions, uint64_t(config.train.seed),
        [&](double done) { progress.update(progress_bar(done, 20) + " exam on unseen prompts"); });
    progress.finish();
    std::optional<DemoRoutes> routes;
    if (folder.model->config().has_moe)
      routes = demo_routes(*folder.model, folder.need_tokenizer(), 100, kShuffles,
                           uint64_t(config.train.seed));
    if (o->json) {
      JsonObject json = to_json(scores, routes ? &routes->specialization : nullptr);
      json["run_dir"] = config.run_dir;
      json["steps"] = result.steps;
      json["train_seconds"] = result.seconds;
      print_json(json);
      return 0;
    }
    print_line("\nWhat the model writes after prompts it has never seen (greedy):");
    for (const SubjectScore& score : scores)
      for (const std::string& example : score.examples) print_line("  " + printable(example));
    print_line("\nExact answers on unseen prompts:");
    Table table({"subject", "right", "asked", "share"});
    for (const SubjectScore& score : scores)
      table.row({score.subject, std::to_string(score.correct), std::to_string(score.asked),
                 fmt::format("{:.1f}%", 100.0 * double(score.correct) /
                                            double(std::max<int64_t>(1, score.asked)))});
    print_line(table.text());
    if (routes) {
      const Specialization& s = routes->specialization;
      const size_t best = size_t(std::max_element(s.nmi_of_layer.begin(), s.nmi_of_layer.end()) -
                                 s.nmi_of_layer.begin());
      print_line(
          "Which expert took up which subject (the layer where it shows most; all layers are in "
          "experts.svg):");
      print_line(terminal_heat_map(subject_map(*routes, best),
                                   {.color = wants_color(1), .width = terminal_width(1)}));
      print_line(fmt::format(
          "Normalised mutual information of expert and subject, mean over layers: {:.3f}\n"
          "  of {} shuffles of the subjects: mean {:.3f}, 99th percentile {:.3f} -> {:.1f}x the "
          "mean, {}",
          s.nmi, s.n_shuffles, s.shuffled_mean, s.shuffled_p99,
          s.nmi / std::max(1e-12, s.shuffled_mean),
          s.nmi > s.shuffled_p99 ? "the experts specialise" : "no specialisation beyond chance"));
    }
    print_line(str("\nLook at ", join_path(config.run_dir, "loss.svg"),
                   routes ? " and " + join_path(config.run_dir, "experts.svg") : "",
                   "; let it write with: moe generate ", config.run_dir,
                   " -p \"82+69=\" -n 40 --temp 0"));
    return 0;
  };
}

}  // namespace moe
