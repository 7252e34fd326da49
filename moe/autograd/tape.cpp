// SPDX-License-Identifier: MIT
#include "moe/autograd/tape.h"

#include <algorithm>
#include <utility>

namespace moe {
namespace {

thread_local Tape* current_tape = nullptr;

}  // namespace

Tape::Tape() : previous_(std::exchange(current_tape, this)) {}
Tape::~Tape() { current_tape = previous_; }
Tape* Tape::current() { return current_tape; }

NoTape::NoTape() : previous_(std::exchange(current_tape, nullptr)) {}
NoTape::~NoTape() { current_tape = previous_; }

void Tape::backward(const Var& loss) {
  MOE_CHECK(loss.value().numel() == 1, "[backward] the loss has shape ", loss.shape().text(),
            ", it must be one number");
  const Tensor& grad = loss.grad();
  if (grad.dtype() == DType::f64)
    grad.data<double>()[0] += 1.0;
  else
    grad.data<float>()[0] += 1.0f;
  backward_from_grads();
}

void Tape::backward_from_grads() {
  NoTape pause;  // a backward that calls ops must not record them
  for (; !records_.empty(); records_.pop_back()) records_.back()();
}

std::vector<Var> record_always(const char* /*op*/, const std::vector<Tensor>& outs,
                               Backward backward) {
  Tape* tape = Tape::current();
  std::vector<Var> ys;
  ys.reserve(outs.size());
  for (const Tensor& out : outs) ys.emplace_back(out, tape != nullptr);
  if (tape) {
    std::vector<std::shared_ptr<GradPlace>> places;
    for (const Var& y : ys) places.push_back(y.grad_place());
    tape->records_.push_back([places = std::move(places), backward = std::move(backward)] {
      std::vector<Tensor> douts;
      douts.reserve(places.size());
      for (const std::shared_ptr<GradPlace>& place : places) douts.push_back(place->grad());
      backward(douts);
    });
  }
  return ys;
}

std::vector<Var> record(const char* op, const std::vector<Tensor>& outs,
                        const std::vector<Var>& inputs, Backward backward) {
  if (Tape::current() && std::any_of(inputs.begin(), inputs.end(), wants_grad))
    return record_always(op, outs, std::move(backward));
  std::vector<Var> ys;
  for (const Tensor& out : outs) ys.emplace_back(out);
  return ys;
}

Var record(const char* op, Tensor out, const std::vector<Var>& inputs,
           std::function<void(const Tensor& dout)> backward) {
  return record(op, std::vector<Tensor>{std::move(out)}, inputs,
                [backward = std::move(backward)](const std::vector<Tensor>& douts) {
                  backward(douts[0]);
                })[0];
}

}  // namespace moe
