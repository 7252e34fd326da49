// SPDX-License-Identifier: MIT
#include "moe/train/trainer.h"

#include <algorithm>
#include <cmath>

#include "moe/base/clock.h"
#include "moe/base/fs.h"
#include "moe/io/safetensors.h"
#include "moe/ops/cross_entropy.h"
#include "moe/ops/elementwise.h"
#include "moe/optim/grad_norm.h"
#include "moe/optim/schedule.h"

namespace moe {
namespace {

constexpr const char* kStateFile = "optimizer.safetensors";
constexpr const char* kStateJson = "trainer_state.json";

void add_loads(std::vector<LayerLoad>& to, const std::vector<LayerReport>& from) {
  if (to.empty())
    for (const LayerReport& report : from)
      to.push_back({report.layer, RouterStats(report.stats.counts_E.size())});
  for (size_t i = 0; i < from.size(); ++i) to[i].stats += from[i].stats;
}

Tensor targets_of(const Batch& batch) {
  return Tensor::from<int32_t>({batch.n_tokens()}, batch.targets_T);
}

bool is_finite(const Tensor& t) {
  const auto all = [](auto values) {
    return std::all_of(values.begin(), values.end(), [](auto x) { return std::isfinite(x); });
  };
  return t.dtype() == DType::f64 ? all(t.data<double>()) : all(t.data<float>());
}

// Without the sign that a NaN may carry.
std::string number_text(double value) { return std::isnan(value) ? "nan" : str(value); }

std::string slot_name(const StateSlot& slot, const Piece& piece) {
  return slot.name + "." + piece.name;
}

}  // namespace

ForwardContext make_context(const Batch& b) {
  const int64_t T = b.n_tokens();
  ForwardContext ctx;
  ctx.token_ids_T = Tensor::from<int32_t>({T}, b.token_ids_T);
  ctx.positions_T = Tensor::from<int32_t>({T}, b.positions_T);
  ctx.sequence_starts_B1 =
      Tensor::from<int32_t>({int64_t(b.sequence_starts_B1.size())}, b.sequence_starts_B1);
  ctx.token_index_T = Tensor::from<int64_t>({T}, b.token_index_T);
  return ctx;
}

Trainer::Trainer(const RunConfig& config, const Dataset& dataset, TransformerLM& model)
    : config_(config),
      dataset_(dataset),
      model_(model),
      parameters_(config.has_adapter() ? adapter_parameters(model, model.adapter())
                                       : model.parameters()),
      loader_(dataset.train, {.batch_size = config.train.batch_size,
                              .grad_accum = config.train.grad_accum,
                              .seq_len = config.data.seq_len,
                              .seed = uint64_t(config.train.seed),
                              .shuffled = config.data.order == "shuffled"}),
      optimizer_(make_optimizer(config.optim, parameters_)),
      care_({.freeze = config.train.freeze,
             .expert_grad_clip = config.train.expert_grad_clip,
             .log_expert_norms = config.train.log_expert_norms,
             .dead_expert_steps = config.train.dead_expert_steps,
             .seed = uint64_t(config.train.seed)},
            parameters_, model.buffers()),
      guard_(config.train.max_skips, config.train.spike_sigmas) {
  if (config.train.compute_dtype == "f16")
    scaler_.emplace(config.train.loss_scale, config.train.loss_scale_window);
  if (config.optim.ema > 0)
    average_ = std::make_unique<WeightAverage>(config.optim.ema, parameters_);
}

StepResult Trainer::step(double elapsed_fraction) {
  return *step(elapsed_fraction, [] { return false; });
}

std::optional<StepResult> Trainer::step(double elapsed_fraction,
                                        const std::function<bool()>& stop) {
  StepResult result;
  result.step = steps_done_ + 1;
  result.lr =
      fixed_lr_ ? *fixed_lr_
                : learning_rate(config_.optim, steps_done_, config_.train.steps, elapsed_fraction);
  // The number of trained tokens of the whole step is known before its first backward. They are
  // counted, and each micro-batch is built when its turn comes: a step may be larger than the
  // memory.
  const int64_t n_micro = config_.train.grad_accum;
  for (int64_t m = 0; m < n_micro; ++m) {
    if (m > 0 && stop()) return std::nullopt;
    result.tokens += loader_.n_targets(data_step(), m);
  }
  for (const Parameter& p : parameters_) {
    p.var.clear_grad();
    for (const Var& use : p.other_uses) use.clear_grad();
  }
  ops::LossSum running;
  const StepMode mode = config_.train.mode();
  if (scaler_) result.loss_scale = scaler_->scale();
  const double aux_share = 1.0 / double(n_micro);
  for (int64_t m = 0; m < n_micro; ++m) {
    if (m > 0 && stop()) return std::nullopt;  // gradients are cleared by the next step
    const Batch batch = loader_.batch(data_step(), m);
    Tape tape;
    ForwardContext ctx = make_context(batch);
    ctx.training = true;
    ctx.compute_dtype = mode.compute_dtype;
    ctx.recompute = mode.recompute;
    ctx.rng = {.seed = uint64_t(config_.train.seed), .step = uint64_t(data_step())};
    if (config_.model.has_moe && config_.model.moe.balance_loss == "switch_global") {
      auto counts = std::make_shared<std::map<int, std::vector<int64_t>>>();
      for (const LayerLoad& load : result.experts) (*counts)[load.layer] = load.stats.counts_E;
      ctx.step_counts = std::move(counts);
    }
    const LmOutput out = model_(ctx);
    const Var lm_loss = ops::cross_entropy(model_.logits(out.hidden_TD, mode.compute_dtype),
                                           targets_of(batch), result.tokens, &running);
    const Var loss = out.aux_loss.needs_grad()
                         ? ops::add(lm_loss, ops::scale(out.aux_loss, aux_share))
                         : lm_loss;
    for (const LayerReport& report : out.moe_layers) {
      result.aux_loss += aux_share * report.stats.balance_loss;
      result.z_loss += aux_share * report.stats.z_loss;
    }
    add_loads(result.experts, out.moe_layers);
    tape.backward(scaler_ ? ops::scale(loss, scaler_->scale()) : loss);
  }
  add_up_uses(parameters_);
  result.lm_loss = running.sum / double(std::max<int64_t>(1, result.tokens));
  result.loss = result.lm_loss + result.aux_loss + result.z_loss;
  const double optimizer_start = real_clock().monotonic_seconds();
  // A loss that is not finite itself is no matter of scale.
  if (scaler_ && std::isfinite(result.loss)) {
    const double norm = gradient_norm(parameters_);
    if (scaler_->overflowed(std::isfinite(norm))) {
      result.skipped = result.overflowed = true;
      result.grad_norm = norm;
      steps_done_ += 1;
      return result;
    }
  }
  if (scaler_) scale_gradients(parameters_, 1 / result.loss_scale);
  add_l1_gradient(parameters_, config_.optim.l1);
  result.expert_norms = care_.prepare_gradients();
  result.grad_norm = gradient_norm(parameters_);
  if (guard_.skips(result.loss, result.grad_norm)) {
    result.skipped = true;
    steps_done_ += 1;
    return result;
  }
  if (!std::isfinite(result.loss) || !std::isfinite(result.grad_norm))
    fail_diverged(str("the loss is ", number_text(result.loss), " and the gradient norm ",
                      number_text(result.grad_norm)));
  optimizer_->step(result.lr, clip_factor(result.grad_norm, config_.optim.grad_clip));
  care_.restore_frozen();
  std::vector<RouterTotals> totals;
  std::vector<std::pair<int, const RouterStats*>> loads;
  for (const LayerLoad& load : result.experts) {
    totals.push_back(load.stats);
    loads.emplace_back(load.layer, &load.stats);
  }
  // An adapter leaves all of the model as it is, the routers' biases too.
  if (!care_.freezes_router() && !config_.has_adapter()) model_.after_step(totals);
  result.revived = care_.revive(loads, result.step, all_slots());
  steps_done_ += 1;
  tokens_done_ += result.tokens;
  if (average_) average_->update(steps_done_);
  result.optimizer_seconds = real_clock().monotonic_seconds() - optimizer_start;
  return result;
}

std::optional<EvalResult> Trainer::evaluate() {
  if (!dataset_.validation) return std::nullopt;
  const Averaged averaged(*this);
  EvalResult result;
  ops::LossSum running;
  const size_t n_subjects = dataset_.subject_names.size();
  for (const Batch& batch :
       validation_batches(*dataset_.validation, config_.data.seq_len, config_.train.batch_size,
                          config_.train.eval_windows)) {
    const LmOutput out = model_(make_context(batch));
    ops::cross_entropy(model_.logits(out.hidden_TD), targets_of(batch), batch.n_targets, &running);
    if (dataset_.tokenizer) result.bytes += target_bytes(batch, *dataset_.tokenizer);
    add_loads(result.experts, out.moe_layers);
    if (n_subjects == 0) continue;
    result.subject_counts.resize(out.moe_layers.size());
    for (size_t i = 0; i < out.moe_layers.size(); ++i) {
      auto& counts = result.subject_counts[i];
      counts.resize(out.moe_layers[i].stats.counts_E.size(), std::vector<int64_t>(n_subjects));
      for (const Pick& pick : out.moe_layers[i].picks)
        if (const int32_t subject = batch.subject_T[size_t(pick.token)]; subject >= 0)
          counts[size_t(pick.expert)][size_t(subject)] += 1;
    }
  }
  result.tokens = running.tokens;
  result.loss = running.sum / double(std::max<int64_t>(1, running.tokens));
  if (!std::isfinite(result.loss))
    fail_diverged("the validation loss is " + number_text(result.loss));
  return result;
}

void Trainer::check_weights() {
  for (const Parameter& p : parameters_)
    if (!is_finite(p.var.value())) fail_diverged("weight '" + p.name + "' is not finite");
  for (const StateSlot& slot : all_slots())
    if (!is_finite(slot.value))
      fail_diverged(str("the optimiser's '", slot.name, "' of '", parameters_[slot.parameter].name,
                        "' is not finite"));
  const double loss = first_loss_of_next_step();
  if (!std::isfinite(loss)) fail_diverged("these weights give a loss of " + number_text(loss));
  if (!average_) return;
  const Averaged averaged(*this);
  const double average_loss = first_loss_of_next_step();
  if (!std::isfinite(average_loss))
    fail_diverged("the averaged weights give a loss of " + number_text(average_loss));
}

double Trainer::first_loss_of_next_step() const {
  const Batch batch = loader_.batch(data_step(), 0);
  const LmOutput out = model_(make_context(batch));
  ops::LossSum sum;
  ops::cross_entropy(model_.logits(out.hidden_TD), targets_of(batch),
                     std::max<int64_t>(1, batch.n_targets), &sum);
  return sum.sum / double(std::max<int64_t>(1, sum.tokens));
}

void Trainer::fail_diverged(const std::string& what) const {
  throw Error(str("[train] after ", steps_done_, " steps: ", what,
                  "; training diverged. Lower optim.lr (now ", config_.optim.lr,
                  "), lengthen optim.warmup_steps or set optim.grad_clip"));
}

Trainer::Averaged::Averaged(Trainer& trainer) : trainer_(trainer) {
  MOE_CHECK(!trainer_.is_averaged_, "[train] the weights are averaged already");
  if (trainer_.average_) trainer_.average_->swap();
  trainer_.is_averaged_ = true;
}

Trainer::Averaged::~Averaged() {
  if (trainer_.average_) trainer_.average_->swap();
  trainer_.is_averaged_ = false;
}

std::vector<StateSlot> Trainer::all_slots() const {
  std::vector<StateSlot> slots = optimizer_->state();
  if (average_)
    for (const StateSlot& slot : average_->state()) slots.push_back(slot);
  return slots;
}

std::vector<TensorSource> Trainer::state_tensors() const {
  MOE_CHECK(is_averaged_ || !average_, "[train] the state is saved beside the averaged weights");
  std::vector<TensorSource> out;
  for (const StateSlot& slot : all_slots()) {
    const Parameter& p = parameters_[slot.parameter];
    for (const Piece& piece : p.pieces)
      out.push_back({.name = slot_name(slot, piece),
                     .dtype = slot.value.dtype(),
                     .shape = piece_shape(p, piece),
                     .content = [value = slot.value, piece](const ByteSink& sink) {
                       const Tensor t = read_piece(value, piece);
                       sink({t.raw(), size_t(t.stored_bytes())});
                     }});
  }
  return out;
}

JsonObject Trainer::state_json() const {
  JsonObject state = {{"data_jump", data_jump_},
                      {"guard", guard_.state()},
                      {"steps_done", steps_done_},
                      {"tokens_done", tokens_done_},
                      {"optimizer", config_.optim.name},
                      {"averaged_weights", average_ != nullptr},
                      {"idle_expert_steps", care_.state()},
                      {"optimizer_steps", optimizer_->steps_done()}};
  if (scaler_) state["loss_scaler"] = scaler_->state();
  return state;
}

void Trainer::go_back(const std::string& folder) {
  const int64_t data_done = data_step(), n_skipped = guard_.n_skipped();
  MOE_CHECK(!is_averaged_, "[train] the weights are averaged");
  load_state(folder);
  data_jump_ = data_done - steps_done_;
  guard_.start_again(n_skipped);
}

void Trainer::load_state(const std::string& folder) {
  const std::string path = join_path(folder, kStateJson), what = "[trainer_state.json] " + path;
  const Json json = read_json(path, what);
  MOE_CHECK(json.is_object(), what, ": must be an object");
  const JsonReader state(json.get_object(), what);
  MOE_CHECK(state.string("optimizer") == config_.optim.name, what,
            ": the run was trained with optim.name=", printable(state.string("optimizer"), 20),
            ", not ", config_.optim.name,
            "; resume with the same optimiser, or start a new run with model.init_from");
  const bool has_average = state.boolean_or("averaged_weights", false);
  MOE_CHECK(has_average == (average_ != nullptr), what, ": the run was trained ",
            has_average ? "with" : "without", " averaged weights, and optim.ema is ",
            config_.optim.ema, " now; ",
            has_average ? "give optim.ema a value above 0 as before" : "leave it at 0",
            ", or start a new run with model.init_from");
  steps_done_ = state.integer("steps_done");
  tokens_done_ = state.integer("tokens_done");
  if (const Json* idle = json.get_object().if_contains("idle_expert_steps"))
    care_.load_state(*idle);
  MOE_CHECK(steps_done_ >= 0 && tokens_done_ >= 0, what, ": negative counts");
  data_jump_ = state.integer_or("data_jump", 0);
  MOE_CHECK(data_jump_ >= 0, what, ": a negative data_jump");
  if (state.has("guard") && state.at("guard").is_object())
    guard_.load_state(state.at("guard").get_object(), what);
  if (scaler_ && state.has("loss_scaler") && state.at("loss_scaler").is_object())
    scaler_->load_state(state.at("loss_scaler").get_object(), what);
  optimizer_->set_steps_done(state.integer("optimizer_steps"));
  const SafetensorsFile file(join_path(folder, kStateFile));
  for (const StateSlot& slot : all_slots()) {
    const Parameter& p = parameters_[slot.parameter];
    for (const Piece& piece : p.pieces) {
      const SafetensorsEntry& entry = file.at(slot_name(slot, piece));
      MOE_CHECK(entry.shape() == piece_shape(p, piece) && entry.dtype == slot.value.dtype(),
                "[trainer state] ", file.path(), ": '", entry.name, "' is ", entry.shape_text(),
                ", wanted ", piece_shape(p, piece).text());
      write_piece(slot.value, piece, file.tensor(entry));
    }
  }
  // The model was read with the averaged weights, the slots beside it with the raw ones.
  if (average_) average_->swap();
}

}  // namespace moe
