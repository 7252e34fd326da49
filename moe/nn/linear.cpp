// SPDX-License-Identifier: MIT
#include "moe/nn/linear.h"

#include <numeric>

namespace moe {

Linear::Linear(std::vector<std::string> names_, std::vector<int64_t> sizes_, int64_t in,
               bool with_bias, DType dtype, int64_t experts, Layout layout)
    : names(std::move(names_)), sizes(std::move(sizes_)) {
  const int64_t out = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  const Shape shape = experts > 0 ? Shape{experts, out, in} : Shape{out, in};
  const Shape bias_shape = experts > 0 ? Shape{experts, out, 1} : Shape{out, 1};
  weight = Var(Tensor::zeros(shape, dtype, layout), true);
  if (with_bias) bias = Var(Tensor::zeros(bias_shape, dtype, layout), true);
  stored_name = join(names, "_");
}

Var Linear::operator()(const Var& x_TI, const ForwardContext& ctx) const {
  const LoraPart* part = active_part(lora, ctx);
  if (part) return adapted_linear(*part, weight, bias, sizes, x_TI, {}, {}, stored_name, ctx);
  return ops::linear(x_TI, weight, bias, {.type = ctx.compute_dtype});
}

Var Linear::operator()(const Var& x_RI, const Tensor& offsets_E1, const Tensor& token_R,
                       const ForwardContext& ctx) const {
  const LoraPart* part = active_part(lora, ctx);
  if (part)
    return adapted_linear(*part, weight, bias, sizes, x_RI, offsets_E1, token_R, stored_name, ctx);
  return ops::grouped_linear(x_RI, weight, offsets_E1, bias, {.type = ctx.compute_dtype});
}

void Linear::visit(const Visitor& v) const {
  const bool stacked = weight.shape().rank() == 3;
  auto show = [&](const Var& var, const std::string& suffix, Role as, bool vector) {
    Parameter p{.name = v.prefix + stored_name + suffix,
                .var = var,
                .role = as,
                .pieces = {},
                .other_uses = {},
                .residual_output = residual_output && !vector};
    for (int64_t e = 0; e < var.value().n_matrices(); ++e) {
      int64_t row = 0;
      for (size_t i = 0; i < names.size(); ++i) {
        const std::string expert = stacked ? str("experts.", e, ".") : std::string();
        p.pieces.push_back({.name = v.prefix + expert + names[i] + suffix,
                            .matrix = e,
                            .row = row,
                            .rows = sizes[i],
                            .is_vector = vector});
        row += sizes[i];
      }
    }
    v.parameter(p);
  };
  if (adaptable)
    v.site({.prefix = v.prefix,
            .names = names,
            .sizes = sizes,
            .weight = weight,
            .role = role,
            .embedding = false,
            .parts = lora});
  show(weight, ".weight", role, false);
  if (bias) show(bias, ".bias", Role::bias, true);
}

}  // namespace moe
