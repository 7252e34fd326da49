// SPDX-License-Identifier: MIT
// What a trainer does to single experts: freezes them, clips and measures their gradients one by
// one, and gives a dead expert the weights of a live one.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "moe/base/json.h"
#include "moe/nn/module.h"
#include "moe/nn/moe/router.h"
#include "moe/optim/optimizer.h"

namespace moe {

struct ExpertCareConfig {
  std::string freeze;             // "router", "experts" or patterns of tensor names, by commas
  double expert_grad_clip = 0;    // largest norm of one expert's gradient; 0: none
  bool log_expert_norms = false;  // measured though nothing is clipped
  int64_t dead_expert_steps = 0;  // steps in a row below a hundredth of the even share; 0: never
  uint64_t seed = 1;
};

/// An expert that was given another's weights.
struct RevivedExpert {
  int layer = 0;
  int64_t expert = 0, from = 0;
};

class ExpertCare {
 public:
  /// Throws Error (usage) when a pattern names no tensor.
  ExpertCare(const ExpertCareConfig& config, std::vector<Parameter> parameters,
             std::vector<Buffer> buffers);

  /// No selection bias moves either.
  bool freezes_router() const { return freezes_router_; }
  /// Before the global norm: no gradient for what is frozen, each expert's norm at most
  /// expert_grad_clip. Norms before clipping by [MoE layer][expert]; empty unless asked for.
  std::vector<std::vector<double>> prepare_gradients();
  /// After the update: what is frozen is as it was (weight decay knows no gradient).
  void restore_frozen();
  /// Counts idle steps; an expert that has been idle for too long takes the weights, the optimiser
  /// state and the router's row of its layer's busiest expert. So that the two part, each weight is
  /// multiplied by 1 + N(0, 0.02^2), and the gate's row gets normal draws of a tenth of its root
  /// mean square. What is frozen stays as it is. loads: of this step.
  std::vector<RevivedExpert> revive(const std::vector<std::pair<int, const RouterStats*>>& loads,
                                    int64_t step, const std::vector<StateSlot>& slots);

  /// Idle steps so far, for a checkpoint.
  Json state() const;
  void load_state(const Json& state);

 private:
  struct Place {
    size_t parameter, piece;
    bool operator==(const Place&) const = default;
  };
  const Piece& piece(const Place& p) const { return parameters_[p.parameter].pieces[p.piece]; }
  const Tensor& value(const Place& p) const { return parameters_[p.parameter].var.value(); }
  bool is_frozen(const Place& p) const;
  void copy_expert(const RevivedExpert& r, int64_t step, const std::vector<StateSlot>& slots);

  ExpertCareConfig config_;
  std::vector<Parameter> parameters_;
  std::vector<Buffer> buffers_;
  std::map<int, std::vector<std::vector<Place>>> experts_;  // [layer][expert]
  std::map<int, std::vector<Place>> gates_;  // the router's tensors that have a row an output
  std::vector<Place> frozen_;
  std::vector<Tensor> frozen_values_;  // as they were before the first step
  bool freezes_router_ = false;
  std::map<int, std::vector<int64_t>> idle_;  // [layer][expert]
};

}  // namespace moe
