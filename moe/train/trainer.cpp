// SPDX-License-Identifier: MIT
#include "moe/train/trainer.h"

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
      parameters_(model.parameters()),
      loader_(dataset.train, {.batch_size = config.train.batch_size,
                              .grad_accum = config.train.grad_accum,
                              .seq_len = config.data.seq_len,
                              .seed = uint64_t(config.train.seed),
                              .shuffled = config.data.order == "shuffled"}),
      optimizer_(make_optimizer(config.optim, parameters_)) {
  if (config.optim.ema > 0)
    average_ = std::make_unique<WeightAverage>(config.optim.ema, parameters_);
}

StepResult Trainer::step(double elapsed_fraction) {
  StepResult result;
  result.step = steps_done_ + 1;
  result.lr = learning_rate(config_.optim, steps_done_, config_.train.steps, elapsed_fraction);
  // The number of trained tokens of the whole step is known before its first backward.
  const std::vector<Batch> batches = loader_.step_batches(steps_done_);
  for (const Batch& batch : batches) result.tokens += batch.n_targets;
  for (const Parameter& p : parameters_) {
    p.var.clear_grad();
    for (const Var& use : p.other_uses) use.clear_grad();
  }
  ops::LossSum running;
  const double aux_share = 1.0 / double(batches.size());
  for (const Batch& batch : batches) {
    Tape tape;
    ForwardContext ctx = make_context(batch);
    ctx.training = true;
    ctx.rng = {.seed = uint64_t(config_.train.seed), .step = uint64_t(steps_done_)};
    const LmOutput out = model_(ctx);
    const Var lm_loss = ops::cross_entropy(model_.logits(out.hidden_TD), targets_of(batch),
                                           result.tokens, &running);
    const Var loss = out.aux_loss.needs_grad()
                         ? ops::add(lm_loss, ops::scale(out.aux_loss, aux_share))
                         : lm_loss;
    for (const LayerReport& report : out.moe_layers) {
      result.aux_loss += aux_share * report.stats.balance_loss;
      result.z_loss += aux_share * report.stats.z_loss;
    }
    add_loads(result.experts, out.moe_layers);
    tape.backward(loss);
  }
  add_up_uses(parameters_);
  result.lm_loss = running.sum / double(std::max<int64_t>(1, result.tokens));
  result.loss = result.lm_loss + result.aux_loss + result.z_loss;
  const double optimizer_start = real_clock().monotonic_seconds();
  add_l1_gradient(parameters_, config_.optim.l1);
  result.grad_norm = gradient_norm(parameters_);
  MOE_CHECK(std::isfinite(result.loss) && std::isfinite(result.grad_norm), "[train] step ",
            result.step, ": the loss is ", result.loss, " and the gradient norm ", result.grad_norm,
            "; training diverged. Lower optim.lr (now ", config_.optim.lr,
            "), lengthen optim.warmup_steps or set optim.grad_clip");
  optimizer_->step(result.lr, clip_factor(result.grad_norm, config_.optim.grad_clip));
  std::vector<RouterTotals> totals;
  for (const LayerLoad& load : result.experts) totals.push_back(load.stats);
  model_.after_step(totals);
  steps_done_ += 1;
  tokens_done_ += result.tokens;
  if (average_) average_->update(steps_done_);
  result.optimizer_seconds = real_clock().monotonic_seconds() - optimizer_start;
  return result;
}

std::optional<EvalResult> Trainer::evaluate() {
  if (!dataset_.validation) return std::nullopt;
  if (average_) average_->swap();
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
  if (average_) average_->swap();
  result.tokens = running.tokens;
  result.loss = running.sum / double(std::max<int64_t>(1, running.tokens));
  return result;
}

std::vector<StateSlot> Trainer::all_slots() const {
  std::vector<StateSlot> slots = optimizer_->state();
  if (average_)
    for (const StateSlot& slot : average_->state()) slots.push_back(slot);
  return slots;
}

std::vector<TensorSource> Trainer::state_tensors() const {
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
  return {{"steps_done", steps_done_},
          {"tokens_done", tokens_done_},
          {"optimizer", config_.optim.name},
          {"optimizer_steps", optimizer_->steps_done()}};
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
  steps_done_ = state.integer("steps_done");
  tokens_done_ = state.integer("tokens_done");
  MOE_CHECK(steps_done_ >= 0 && tokens_done_ >= 0, what, ": negative counts");
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
}

}  // namespace moe
