// SPDX-License-Identifier: MIT
// The optimiser seam: parameters in, one step a call, state that is saved piece by piece beside the
// weights.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "moe/nn/module.h"
#include "moe/optim/optim_config.h"

namespace moe {

/// One tensor of state laid out like parameter `parameter`; saved under name + "." + piece name.
struct StateSlot {
  std::string name;
  size_t parameter;
  Tensor value;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// Updates every parameter from its gradient times grad_scale. Counts steps from 1 for bias
  /// corrections.
  virtual void step(double lr, double grad_scale) = 0;
  virtual std::vector<StateSlot> state() const = 0;
  int64_t steps_done() const { return steps_; }
  void set_steps_done(int64_t steps) { steps_ = steps; }

 protected:
  int64_t steps_ = 0;
};

/// parameters: kept by the optimiser (Vars share). Throws Error for an unknown name.
std::unique_ptr<Optimizer> make_optimizer(const OptimConfig& config,
                                          std::vector<Parameter> parameters);

/// Numbers of state that an optimiser keeps for each parameter, at most; averages of the weights
/// included.
int optimizer_slots(const OptimConfig& config);

/// Whether weight decay acts on a parameter: matrices, embeddings, routers and the head; never
/// norms, biases, scales.
bool decays(Role role);

/// Adds l1 * sign(w) to the gradients of the parameters that decay.
void add_l1_gradient(const std::vector<Parameter>& parameters, double l1);

}  // namespace moe
