// SPDX-License-Identifier: MIT
// Reverse-mode differentiation on a linear tape: the order of recording is a topological order, so
// backward is a reverse loop that frees each record as it goes. No tape means inference: nothing is
// saved.
#pragma once

#include <functional>
#include <vector>

#include "moe/autograd/var.h"

namespace moe {

class Tape {
 public:
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Adds 1 to the gradient of a scalar and runs the records backwards.
  void backward(const Var& loss);
  /// The same after the caller has seeded the gradients of any number of outputs.
  void backward_from_grads();
  size_t size() const { return records_.size(); }

  /// The tape that records on this thread, or null.
  static Tape* current();

 private:
  friend class NoTape;
  friend std::vector<Var> record_always(const char*, const std::vector<Tensor>&,
                                        std::function<void(const std::vector<Tensor>&)>);
  Tape* previous_;
  std::vector<std::function<void()>> records_;
};

/// A scope in which nothing is recorded.
class NoTape {
 public:
  NoTape();
  ~NoTape();
  NoTape(const NoTape&) = delete;
  NoTape& operator=(const NoTape&) = delete;

 private:
  Tape* previous_;
};

/// douts has one gradient per output, zeros for an output that nobody used.
using Backward = std::function<void(const std::vector<Tensor>& douts)>;

/// Wraps an op's outputs. backward must add to the grad() of those inputs that need one (see
/// wants_grad) and must not capture the outputs' Vars. Nothing is recorded when no input needs a
/// gradient or no tape is current.
std::vector<Var> record(const char* op, const std::vector<Tensor>& outs,
                        const std::vector<Var>& inputs, Backward backward);
/// The same whatever the inputs need: collectives and recomputation, which may never be skipped.
std::vector<Var> record_always(const char* op, const std::vector<Tensor>& outs, Backward backward);
/// One output.
Var record(const char* op, Tensor out, const std::vector<Var>& inputs,
           std::function<void(const Tensor& dout)> backward);

/// True when an op should compute this input's gradient.
inline bool wants_grad(const Var& v) { return v && v.needs_grad(); }

}  // namespace moe
