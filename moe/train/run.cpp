// SPDX-License-Identifier: MIT
#include "moe/train/run.h"

#include <cmath>
#include <fmt/format.h>

#include "moe/base/log.h"
#include "moe/base/parallel.h"
#include "moe/base/progress.h"
#include "moe/families/adapter_folder.h"
#include "moe/io/checkpoint.h"
#include "moe/nn/accounting.h"
#include "moe/nn/init.h"
#include "moe/text/tokenizer_files.h"
#include "moe/text/tokenizer_json.h"
#include "moe/train/metrics.h"
#include "moe/train/progress_text.h"
#include "moe/train/run_data.h"

namespace moe {
namespace {

std::vector<int32_t> eos_of(const Dataset& data, const ChatEncoder* chat) {
  std::vector<int32_t> out;
  if (data.tokenizer && data.tokenizer->eos_id()) out.push_back(*data.tokenizer->eos_id());
  const std::optional<TokenId> end = chat ? chat->end_of_turn_id() : std::nullopt;
  if (end && (out.empty() || out[0] != *end)) out.push_back(*end);
  return out;
}

ModelCard card_of(const RunConfig& config, const Trainer& trainer) {
  const ParameterCount n = count_parameters(config.model);
  ModelCard card{.title = "A model trained with moe.cpp",
                 .text = str("Parameters: ", with_commas(int64_t(n.total)), " (",
                             with_commas(int64_t(n.active)), " active per token). Trained for ",
                             trainer.steps_done(), " steps on ", with_commas(trainer.tokens_done()),
                             " tokens.\n\nThe configuration of the run, config.yaml:\n\n```yaml\n",
                             to_yaml(config), "```\n"),
                 .license = {},
                 .language = {},
                 .base_model = config.model.init_from,
                 .datasets = {}};
  for (const std::string& path : config.data.paths()) card.datasets.push_back(file_name(path));
  if (config.data.is_demo()) card.language = "en";
  return card;
}

/// What model.init_from's folder says with its tokenizer.json; null when it has none, or one that
/// is not supported.
std::shared_ptr<const Tokenizer> tokenizer_of_source(const std::string& init_from) {
  const std::string path = join_path(resolve_model_folder(init_from), "tokenizer.json");
  try {
    return exists(path) ? read_tokenizer(path) : nullptr;
  } catch (const Error&) {
    return nullptr;
  }
}

/// Weights, gradients and two moments of AdamW in float32, and the average if there is one.
void check_memory(const RunConfig& config) {
  const double per_number = config.has_adapter()   ? 4.0
                            : config.optim.ema > 0 ? 20.0
                                                   : 16.0,
               bytes = count_parameters(config.model).stored * per_number;
  const uint64_t available = available_bytes();
  if (bytes <= double(available)) return;
  throw Error(str("[train] the model has ",
                  fmt::format("{:.3g}", count_parameters(config.model).total),
                  " parameters; training them takes about ",
                  bytes < 9e18 ? human_bytes(uint64_t(bytes)) : fmt::format("{:.1e} bytes", bytes),
                  " of memory, and ", human_bytes(available),
                  " are available; lower model.n_layers, model.d_model, model.d_ff",
                  config.model.has_moe ? ", model.moe.n_experts or model.moe.d_ff" : ""));
}

/// What a step takes in another mode than the plain one, and what that saves.
void show_memory(const RunConfig& config) {
  const StepMode mode = config.train.mode();
  if (mode.compute_dtype == DType::f32 && mode.recompute == Recompute::none) return;
  const auto bytes = [&](StepMode m) {
    return total_bytes(training_memory(config.model, config.train.batch_size, config.data.seq_len,
                                       optimizer_slots(config.optim), m));
  };
  const double now = bytes(mode), plain = bytes({});
  log_info(str("train.compute_dtype=", config.train.compute_dtype,
               ", train.recompute=", config.train.recompute, ": a step takes about ",
               human_bytes(uint64_t(now)), ", ", human_bytes(uint64_t(std::fabs(plain - now))),
               now <= plain ? " less" : " more", " than in f32 with all kept"));
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
  void prepare();
  void remove_what_was_made() noexcept;
  void open_data();
  void count_evaluation(double loss);
  void prepare_model();
  void prepare_adapter();
  void go_back();
  void loop();
  void save();
  /// An error of training says which checkpoint is left.
  template <class Call>
  auto guard(Call call) {
    try {
      return call();
    } catch (const Error& e) {
      throw Error(str(e.what(), result_.checkpoint.empty()
                                    ? "; no checkpoint had been written"
                                    : "; the last good checkpoint is " + result_.checkpoint),
                  e.exit_code());
    }
  }
  bool stop_requested() const { return options_.stop_requested && options_.stop_requested(); }
  void show(const StepResult& step, double tokens_per_second, bool last);
  double elapsed() const { return earlier_seconds_ + clock_.monotonic_seconds() - start_seconds_; }
  double budget_fraction() const {
    return config_.train.minutes > 0 ? elapsed() / (60 * config_.train.minutes) : 0;
  }
  bool stopped_early() const {
    return config_.train.early_stop > 0 && worse_evaluations_ >= config_.train.early_stop;
  }
  bool finished() const {
    return stopped_early() || trainer_->steps_done() >= config_.train.steps ||
           (config_.train.minutes > 0 && budget_fraction() >= 1);
  }

  RunConfig config_;
  const RunOptions& options_;
  Fs& fs_;
  Clock& clock_;
  ProgressLine progress_;
  std::unique_ptr<FileLock> lock_;
  std::vector<std::string> made_;  // folders, the deepest first
  NewestCheckpoint from_;
  Dataset data_;
  std::string base_;                   // of an adapter: the folder of its model
  std::unique_ptr<ChatEncoder> chat_;  // of stage sft
  std::unique_ptr<TransformerLM> model_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<MetricsLog> metrics_;
  double start_seconds_ = 0, earlier_seconds_ = 0;
  int64_t saved_at_ = -1;
  std::optional<double> best_loss_;  // of the evaluations so far
  int64_t worse_evaluations_ = 0;    // since it
  std::string back_to_;              // the checkpoint that the run went back to last
  int times_back_ = 0;
  RunResult result_;
};

// A checkpoint holds a config.yaml of its own, so it looks like a run folder; training in it would
// damage it.
void check_is_no_model(const std::string& run_dir) {
  for (const char* name : {"manifest.json", "config.json"}) {
    if (!exists(join_path(run_dir, name))) continue;
    const std::string parent = parent_path(run_dir);
    const bool is_checkpoint = file_name(parent) == "checkpoints";
    const std::string run = parent_path(parent).empty() ? "." : parent_path(parent);
    throw Error(str("[train] ", run_dir, " is a ", is_checkpoint ? "checkpoint" : "model",
                    ", not a run folder; ",
                    is_checkpoint ? str("the run is ", run, ": moe train --resume ", run)
                                  : str("to start from it, set model.init_from=", run_dir,
                                        " and another run_dir")),
                ExitCode::usage);
  }
}

void Run::open_folder() {
  check_is_no_model(config_.run_dir);
  for (std::string folder = config_.run_dir; !folder.empty() && !exists(folder);
       folder = parent_path(folder))
    made_.push_back(folder);
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
}

void Run::remove_what_was_made() noexcept {
  if (made_.empty()) return;
  try {
    if (lock_) fs_.remove_file(join_path(config_.run_dir, "lock"));
    for (const std::string& folder : made_) fs_.remove_directory(folder);
  } catch (...) {  // somebody else's file is in it; the first error is the one to report
  }
}

void Run::prepare() {
  try {
    open_folder();
    if (!from_.path.empty())
      if (const std::optional<RunConfig> saved = read_saved_config(from_.path))
        check_resumable(config_, *saved);
    const RunConfig as_given = config_;
    open_data();
    prepare_model();
    // Only now: a resume that is refused must not change what the next one reads.
    write_file_atomic(fs_, join_path(config_.run_dir, "config.yaml"), to_yaml(as_given));
  } catch (...) {
    remove_what_was_made();
    throw;
  }
}

void Run::open_data() {
  RunData opened = open_run_data(config_, from_.path);
  data_ = std::move(opened.data);
  chat_ = std::move(opened.chat);
  const int64_t steps = steps_of_run(config_, data_);
  if (!options_.quiet && !options_.log_json)
    for (const SourceShare& source : source_shares(config_, data_)) log_info(source_line(source));
  if (steps < config_.train.steps && config_.train.epochs <= 0)
    log_warning(str("[train] the sources of data.mixture are seen as often as they may be after ",
                    steps, " steps; the run ends there, not at train.steps=", config_.train.steps));
  config_.train.steps = steps;
  if (!from_.path.empty() || config_.model.init_from.empty() || !data_.tokenizer) return;
  const auto theirs = tokenizer_of_source(config_.model.init_from);
  if (!theirs || tokenizer_to_json(*theirs) != tokenizer_to_json(*data_.tokenizer))
    log_warning(str("data.tokenizer=", config_.data.tokenizer, " is not the tokenizer of ",
                    config_.model.init_from,
                    ": its token ids stand for other text than the model was trained on"));
}

void Run::prepare_model() {
  const bool size_given = config_.model.vocab_size > 0;
  if (!size_given) config_.model.vocab_size = data_.vocab_size;
  MOE_CHECK(config_.model.vocab_size >= data_.vocab_size, "[train] model.vocab_size is ",
            config_.model.vocab_size, ", but the data use ids up to ", data_.vocab_size - 1,
            "; set it to ", data_.vocab_size, " or more");
  check_memory(config_);
  model_ = std::make_unique<TransformerLM>(config_.model);
  if (!model_->causal(true)) {
    const MoeConfig& moe = config_.model.moe;
    const bool by_capacity = moe.capacity_factor > 0 && moe.capacity_order != "token_major";
    const std::string why =
        str(by_capacity ? "model.moe.capacity_order=" + moe.capacity_order
                        : "model.moe.router=" + moe.router,
            " is not causal in training: a token's experts depend on later tokens, so the training "
            "loss is too good",
            model_->causal(false) ? "" : ", and generation is refused");
    if (!moe.allow_noncausal)
      throw Error("[train] " + why + "; set model.moe.allow_noncausal=true to train all the same" +
                      (by_capacity ? ", or use model.moe.capacity_order=token_major" : ""),
                  ExitCode::usage);
    log_warning(why);
  }
  const MoeConfig& moe = config_.model.moe;
  if (config_.model.has_moe && moe.router == "top_k" && moe.top_k == 1 &&
      (moe.norm_topk_prob || moe.softmax == "after_topk"))
    log_warning(
        "model.moe.top_k=1 with probabilities over their sum: every weight is 1, so the router "
        "gets no gradient from the task; set model.moe.norm_topk_prob=false, or "
        "model.moe.router=switch");
  if (config_.has_adapter())
    prepare_adapter();
  else if (!from_.path.empty())
    load_weights(*model_, from_.path);
  else if (!config_.model.init_from.empty())
    load_weights(*model_, resolve_model_folder(config_.model.init_from));
  else
    initialize(*model_, uint64_t(config_.train.seed));
  if (!config_.has_adapter() && !options_.log_json) show_memory(config_);
  trainer_ = std::make_unique<Trainer>(config_, data_, *model_);
  if (from_.path.empty()) return;
  trainer_->load_state(from_.path);
  saved_at_ = trainer_->steps_done();
  const std::string path = join_path(from_.path, "trainer_state.json");
  const Json state = read_json(path, "[trainer_state.json] " + path);
  const JsonReader reader(state.as_object(), "[trainer_state.json] " + path);
  earlier_seconds_ = reader.number_or("elapsed_seconds", 0);
  worse_evaluations_ = reader.integer_or("worse_evaluations", 0);
  if (reader.has("best_val_loss")) best_loss_ = reader.number_or("best_val_loss", 0);
  if (!options_.log_json)
    log_info(str("resumed ", from_.path, " at step ", trainer_->steps_done()));
}

void Run::save() {
  if (saved_at_ == trainer_->steps_done()) return;
  // Known to be good before it is written, because writing it removes the oldest one.
  guard([&] { trainer_->check_weights(); });
  metrics_->sync();
  const Trainer::Averaged averaged(*trainer_);
  CheckpointWriter writer(fs_, config_.run_dir, trainer_->steps_done());
  const AddFile add = [&](const std::string& name, const ByteProducer& content) {
    writer.add_file(name, content);
  };
  const std::vector<int32_t> eos = eos_of(data_, chat_.get());
  if (config_.has_adapter()) {
    write_adapter_files(add, *model_, model_->adapter(), config_.lora, base_);
    write_text_files(add, data_.tokenizer.get(), eos);
  } else {
    write_model_files(add, *model_, data_.tokenizer.get(), eos, card_of(config_, *trainer_));
  }
  if (chat_) writer.add_file("chat_template.jinja", chat_->source().text);
  JsonObject state = trainer_->state_json();
  state["elapsed_seconds"] = elapsed();
  state["worse_evaluations"] = worse_evaluations_;
  if (best_loss_) state["best_val_loss"] = *best_loss_;
  writer.add_file("trainer_state.json", to_json_pretty(state));
  writer.add_file("config.yaml", to_yaml(config_));
  writer.add_file("optimizer.safetensors", [&](const ByteSink& sink) {
    write_safetensors(sink, trainer_->state_tensors(), {});
  });
  result_.checkpoint = writer.commit(int(config_.train.keep));
  saved_at_ = trainer_->steps_done();
}

void Run::show(const StepResult& s, double tokens_per_second, bool last) {
  constexpr int kPlainColumns = 100;  // of a line in a file
  const double done = std::max(budget_fraction(),
                               double(s.step) / double(std::max<int64_t>(1, config_.train.steps)));
  TrainingProgress p{.step = s.step,
                     .steps = config_.train.steps,
                     .done = std::min(1.0, done),
                     .loss = s.lm_loss,
                     .val_loss = {},
                     .balance = {},
                     .dead_experts = 0,
                     .drop_rate = 0,
                     .tokens_per_second = tokens_per_second,
                     .memory_bytes = resident_bytes()};
  if (done > 0) p.seconds_left = (elapsed() - earlier_seconds_) * (1 - p.done) / done;
  if (result_.evaluation) p.val_loss = result_.evaluation->loss;
  if (!s.experts.empty()) {
    const LoadSummary load = summarize_load(s.experts);
    p.balance = load.entropy;
    p.dead_experts = load.dead;
    p.drop_rate = load.drop_rate;
  }
  progress_.update(progress_text(p, is_terminal(2) ? terminal_width(2) - 1 : kPlainColumns),
                   last || s.step == 1);
}

void Run::prepare_adapter() {
  base_ = from_.path.empty() ? resolve_model_folder(config_.model.init_from)
                             : read_adapter_info(from_.path).base;
  load_weights(*model_, base_);
  freeze(*model_);
  const int adapter = add_adapter(*model_, config_.lora, uint64_t(config_.train.seed));
  model_->use_adapter(adapter);
  if (!from_.path.empty()) load_adapter_weights(*model_, adapter, from_.path);
}

// K steps in a row were no good: back to the last checkpoint, and on with other data.
void Run::go_back() {
  constexpr int kMostTimes = 3;  // from one checkpoint
  const std::string left =
      str("[train] ", trainer_->guard().n_skipped(), " steps were skipped, the latest ",
          config_.train.max_skips, " in a row");
  if (result_.checkpoint.empty())
    throw Error(left +
                ", and there is no checkpoint to go back to; lower optim.lr, or set "
                "train.checkpoint_every");
  times_back_ = back_to_ == result_.checkpoint ? times_back_ + 1 : 1;
  back_to_ = result_.checkpoint;
  if (times_back_ > kMostTimes)
    throw Error(str(left, "; the run went back to ", back_to_, " ", kMostTimes,
                    " times and fails again; lower optim.lr, or look at the data"));
  log_warning(str(left, "; going back to ", back_to_, " and on with later data"));
  if (config_.has_adapter())
    load_adapter_weights(*model_, model_->adapter(), back_to_);
  else
    load_weights(*model_, back_to_);
  trainer_->go_back(back_to_);
  saved_at_ = trainer_->steps_done();
  metrics_ = std::make_unique<MetricsLog>(fs_, config_.run_dir, trainer_->steps_done() + 1,
                                          clock_.unix_seconds());
}

void Run::count_evaluation(double loss) {
  if (best_loss_ && loss >= *best_loss_) {
    ++worse_evaluations_;
    return;
  }
  best_loss_ = loss;
  worse_evaluations_ = 0;
}

void Run::loop() {
  double tokens_per_second = 0;
  std::optional<Error> log_error;
  std::vector<LayerLoad> loads;
  while (!finished()) {
    const double before = clock_.monotonic_seconds();
    const std::optional<StepResult> whole =
        guard([&] { return trainer_->step(budget_fraction(), [&] { return stop_requested(); }); });
    if (!whole) {
      result_.end = RunResult::End::interrupted;
      break;
    }
    const StepResult& step = *whole;
    const double seconds = clock_.monotonic_seconds() - before,
                 now = double(step.tokens) / std::max(1e-9, seconds);
    tokens_per_second = tokens_per_second == 0 ? now : 0.9 * tokens_per_second + 0.1 * now;
    if (step.overflowed) {
      log_info(str("step ", step.step,
                   " is left out: float16 gradients overflowed; the loss scale ", "was ",
                   step.loss_scale, " and is halved"));
    } else if (step.skipped) {
      log_warning(str("step ", step.step, " is skipped: loss ", step.loss, ", gradient norm ",
                      step.grad_norm));
      if (trainer_->guard().gives_up()) {
        go_back();
        continue;
      }
    }
    bool stop = stop_requested();
    // A due evaluation takes place even when the run is to stop: its place in the log would stay
    // empty.
    const bool evaluate =
        config_.train.eval_every > 0 && (step.step % config_.train.eval_every == 0 || finished());
    std::optional<EvalResult> evaluation;
    if (evaluate) evaluation = guard([&] { return trainer_->evaluate(); });
    if (evaluation) {
      result_.evaluation = evaluation;
      count_evaluation(evaluation->loss);
    }
    result_.loss = step.loss;
    loads = step.experts;
    const JsonObject metrics = metrics_object(step, now, evaluation);
    metrics_->add(metrics, clock_.unix_seconds());
    try {
      if (options_.log_json) options_.log_json(to_json_line(metrics));
    } catch (const Error& e) {
      log_error = e;
      stop = true;
    }
    const bool last = finished() || stop;
    show(step, tokens_per_second, last);
    if (evaluation) {
      metrics_->flush();
      metrics_->write_plots(evaluation, loads, data_.subject_names);
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
  save();  // of a run of 0 steps or one that was stopped within a step, too
  metrics_->write_plots(result_.evaluation, loads, data_.subject_names);
  metrics_->flush();
  if (log_error) throw *log_error;
}

RunResult Run::go() {
  set_threads(int(config_.train.threads));
  prepare();
  start_seconds_ = clock_.monotonic_seconds();
  result_.checkpoint = from_.path;
  result_.steps = trainer_->steps_done();
  const auto out_of_time = [&] {
    return trainer_->steps_done() < config_.train.steps && !stopped_early();
  };
  if (finished() && !from_.path.empty()) {
    result_.end = RunResult::End::already_finished;
    result_.out_of_time = out_of_time();
    result_.loss = last_logged_loss(config_.run_dir);
    return result_;
  }
  metrics_ = std::make_unique<MetricsLog>(fs_, config_.run_dir, trainer_->steps_done() + 1,
                                          clock_.unix_seconds());
  loop();
  result_.steps = trainer_->steps_done();
  if (stopped_early())
    log_info(str("ended early: ", worse_evaluations_,
                 " evaluations in a row without a better validation loss than ", *best_loss_));
  result_.out_of_time = result_.end == RunResult::End::finished && out_of_time();
  result_.seconds = clock_.monotonic_seconds() - start_seconds_;
  return result_;
}

}  // namespace

RunResult run_training(const RunConfig& config, const RunOptions& options) {
  return Run(config, options).go();
}

}  // namespace moe
