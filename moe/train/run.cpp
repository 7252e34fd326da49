// SPDX-License-Identifier: MIT
#include "moe/train/run.h"

#include <cstdio>

#include "moe/base/log.h"
#include "moe/base/parallel.h"
#include "moe/base/progress.h"
#include "moe/families/model_folder.h"
#include "moe/io/checkpoint.h"
#include "moe/nn/accounting.h"
#include "moe/nn/init.h"
#include "moe/train/metrics.h"

namespace moe {
namespace {

std::vector<int32_t> eos_of(const Dataset& data) {
  if (data.tokenizer && data.tokenizer->eos_id()) return {*data.tokenizer->eos_id()};
  return {};
}

ModelCard card_of(const RunConfig& config, const Trainer& trainer) {
  const ParameterCount n = count_parameters(config.model);
  return {.title = "A model trained with moe.cpp",
          .text = str("Parameters: ", with_commas(int64_t(n.total)), " (",
                      with_commas(int64_t(n.active)), " active per token). Trained for ",
                      trainer.steps_done(), " steps on ", with_commas(trainer.tokens_done()),
                      " tokens.\n\nThe configuration of the run, config.yaml:\n\n```yaml\n",
                      to_yaml(config), "```\n")};
}

class Run {
 public:
  Run(const RunConfig& config, const RunOptions& options)
      : config_(config),
        options_(options),
        fs_(options.fs ? *options.fs : real_fs()),
        clock_(options.clock ? *options.clock : real_clock()),
        progress_(options.quiet || options.log_json ? ProgressLine::Style::silent
                                                    : ProgressLine::Style::automatic,
                  5, clock_) {}

  RunResult go();

 private:
  void open_folder();
  void prepare_model();
  void loop();
  void save();
  void show(const StepResult& step, double tokens_per_second, bool last);
  double elapsed() const { return earlier_seconds_ + clock_.monotonic_seconds() - start_seconds_; }
  double budget_fraction() const {
    return config_.train.minutes > 0 ? elapsed() / (60 * config_.train.minutes) : 0;
  }
  bool finished() const {
    return trainer_->steps_done() >= config_.train.steps ||
           (config_.train.minutes > 0 && budget_fraction() >= 1);
  }

  RunConfig config_;
  const RunOptions& options_;
  Fs& fs_;
  Clock& clock_;
  ProgressLine progress_;
  std::unique_ptr<FileLock> lock_;
  NewestCheckpoint from_;
  Dataset data_;
  std::unique_ptr<TransformerLM> model_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<MetricsLog> metrics_;
  double start_seconds_ = 0, earlier_seconds_ = 0;
  int64_t saved_at_ = -1;
  RunResult result_;
};

void Run::open_folder() {
  make_directories(fs_, config_.run_dir);
  lock_ = std::make_unique<FileLock>(join_path(config_.run_dir, "lock"));
  from_ = newest_valid_checkpoint(config_.run_dir);
  for (const NewestCheckpoint::Skipped& skipped : from_.skipped)
    log_warning(
        str("checkpoint ", skipped.path, " is damaged (", skipped.reason, ") and is skipped"));
  if (!options_.resume && !from_.path.empty())
    throw Error(str("[train] ", config_.run_dir, " already holds a checkpoint at step ", from_.step,
                    "; continue it with --resume, or choose another run_dir"),
                ExitCode::usage);
  if (options_.resume && from_.path.empty())
    log_info(str("no valid checkpoint in ", config_.run_dir, "; training starts at step 0"));
  write_file_atomic(fs_, join_path(config_.run_dir, "config.yaml"), to_yaml(config_));
}

void Run::prepare_model() {
  data_ = open_dataset(config_.data, uint64_t(config_.train.seed));
  const bool size_given = config_.model.vocab_size > 0;
  if (!size_given) config_.model.vocab_size = data_.vocab_size;
  MOE_CHECK(config_.model.vocab_size >= data_.vocab_size, "[train] model.vocab_size is ",
            config_.model.vocab_size, ", but the data use ids up to ", data_.vocab_size - 1,
            "; set it to ", data_.vocab_size, " or more");
  model_ = std::make_unique<TransformerLM>(config_.model);
  if (!model_->causal(true))
    log_warning(str("router '", config_.model.moe.router,
                    "' is not causal: routes depend on later tokens, so the training loss is too "
                    "good and generation is refused"));
  if (!from_.path.empty())
    load_weights(*model_, from_.path);
  else if (!config_.model.init_from.empty())
    load_weights(*model_, resolve_model_folder(config_.model.init_from));
  else
    initialize(*model_, uint64_t(config_.train.seed));
  trainer_ = std::make_unique<Trainer>(config_, data_, *model_);
  if (from_.path.empty()) return;
  trainer_->load_state(from_.path);
  saved_at_ = trainer_->steps_done();
  const std::string path = join_path(from_.path, "trainer_state.json");
  const Json state = read_json(path, "[trainer_state.json] " + path);
  earlier_seconds_ =
      JsonReader(state.as_object(), "[trainer_state.json] " + path).number_or("elapsed_seconds", 0);
  if (!options_.log_json)
    log_info(str("resumed ", from_.path, " at step ", trainer_->steps_done()));
}

void Run::save() {
  if (saved_at_ == trainer_->steps_done()) return;
  CheckpointWriter writer(fs_, config_.run_dir, trainer_->steps_done());
  const AddFile add = [&](const std::string& name, const ByteProducer& content) {
    writer.add_file(name, content);
  };
  write_model_files(add, *model_, data_.tokenizer.get(), eos_of(data_),
                    card_of(config_, *trainer_));
  JsonObject state = trainer_->state_json();
  state["elapsed_seconds"] = elapsed();
  writer.add_file("trainer_state.json", to_json_pretty(state));
  writer.add_file("config.yaml", to_yaml(config_));
  writer.add_file("optimizer.safetensors", [&](const ByteSink& sink) {
    write_safetensors(sink, trainer_->state_tensors(), {});
  });
  result_.checkpoint = writer.commit(int(config_.train.keep));
  saved_at_ = trainer_->steps_done();
}

void Run::show(const StepResult& s, double tokens_per_second, bool last) {
  const double done = std::max(budget_fraction(),
                               double(s.step) / double(std::max<int64_t>(1, config_.train.steps)));
  const double left =
      done > 0 ? (elapsed() - earlier_seconds_) * (1 - std::min(1.0, done)) / done : 0;
  std::string line = fmt::format("step {}/{}  loss {:.4f}", s.step, config_.train.steps, s.lm_loss);
  if (result_.evaluation) line += fmt::format("  val {:.4f}", result_.evaluation->loss);
  line += fmt::format("  {:.0f} tok/s  ETA {}", tokens_per_second, human_seconds(left));
  if (!s.experts.empty()) line += fmt::format("  balance {:.2f}", expert_balance(s.experts));
  line += "  " + human_bytes(resident_bytes());
  progress_.update(progress_bar(std::min(1.0, done), 20) + " " + line, last || s.step == 1);
}

void Run::loop() {
  double tokens_per_second = 0;
  while (!finished()) {
    const double before = clock_.monotonic_seconds();
    const StepResult step = trainer_->step(budget_fraction());
    const double seconds = clock_.monotonic_seconds() - before,
                 now = double(step.tokens) / std::max(1e-9, seconds);
    tokens_per_second = tokens_per_second == 0 ? now : 0.9 * tokens_per_second + 0.1 * now;
    const bool stop = options_.stop_requested && options_.stop_requested(),
               last = finished() || stop;
    const bool evaluate = config_.train.eval_every > 0 && !stop &&
                          (step.step % config_.train.eval_every == 0 || last);
    std::optional<EvalResult> evaluation;
    if (evaluate) evaluation = trainer_->evaluate();
    if (evaluation) result_.evaluation = evaluation;
    result_.loss = step.loss;
    const JsonObject metrics = metrics_object(step, now, evaluation);
    metrics_->add(metrics, clock_.unix_seconds());
    if (options_.log_json) std::puts(to_json_line(metrics).c_str());
    show(step, tokens_per_second, last);
    if (evaluation) {
      metrics_->write_plots(evaluation, data_.subject_names);
      if (options_.after_eval) options_.after_eval(*trainer_, *model_, data_);
    }
    const bool due =
        config_.train.checkpoint_every > 0 && step.step % config_.train.checkpoint_every == 0;
    if (due || last) save();
    if (stop) {
      result_.end = RunResult::End::interrupted;
      break;
    }
  }
  progress_.finish();
  metrics_->write_plots(result_.evaluation, data_.subject_names);
  metrics_->flush();
}

RunResult Run::go() {
  set_threads(int(config_.train.threads));
  open_folder();
  prepare_model();
  start_seconds_ = clock_.monotonic_seconds();
  result_.checkpoint = from_.path;
  result_.steps = trainer_->steps_done();
  if (finished() && !from_.path.empty()) {
    result_.end = RunResult::End::already_finished;
    return result_;
  }
  metrics_ = std::make_unique<MetricsLog>(fs_, config_.run_dir, trainer_->steps_done() + 1,
                                          clock_.unix_seconds());
  loop();
  save();  // of a run of 0 steps, too
  result_.steps = trainer_->steps_done();
  result_.seconds = clock_.monotonic_seconds() - start_seconds_;
  return result_;
}

}  // namespace

RunResult run_training(const RunConfig& config, const RunOptions& options) {
  return Run(config, options).go();
}

}  // namespace moe
