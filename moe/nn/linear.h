// SPDX-License-Identifier: MIT
// Linear layers as modules: one matrix, several fused into one, or one per expert.
#pragma once

#include "moe/nn/lora.h"
#include "moe/ops/linear.h"

namespace moe {

/// Several named matrices of the same input, stored as one panel weight; the outputs come side by
/// side.
struct Linear {
  Var weight, bias;                // [out, in] or [E, out, in] panels; bias null or [.., out, 1]
  std::vector<std::string> names;  // "q_proj", "k_proj", "v_proj"
  std::vector<int64_t> sizes;      // rows of each; their sum is out
  Role role = Role::matrix;
  bool residual_output = false;
  std::string stored_name;
  bool adaptable = true;  // whether a low-rank adapter can be put on it
  std::shared_ptr<LoraParts> lora = std::make_shared<LoraParts>();

  Linear() = default;
  /// names may contain one name; experts = 0: a plain matrix.
  Linear(std::vector<std::string> names, std::vector<int64_t> sizes, int64_t in, bool with_bias,
         DType dtype, int64_t experts = 0, Layout layout = Layout::panel16);

  Var operator()(const Var& x_TI, const ForwardContext& ctx) const;
  /// Rows grouped by expert; token_R: the token of each row.
  Var operator()(const Var& x_RI, const Tensor& offsets_E1, const Tensor& token_R,
                 const ForwardContext& ctx) const;
  bool is_adapted(const ForwardContext& ctx) const { return active_part(lora, ctx) != nullptr; }
  /// Names: prefix + name + ".weight"; of experts: prefix + "experts.3." + name + ".weight".
  void visit(const Visitor& v) const;
};

}  // namespace moe
