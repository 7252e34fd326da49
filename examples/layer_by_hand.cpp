// SPDX-License-Identifier: MIT
// One Mixture-of-Experts layer by hand: route four tokens, look at who went where, and get
// gradients.
#include <cstdio>

#include "moe/base/rng.h"
#include "moe/nn/moe/moe_layer.h"
#include "moe/ops/elementwise.h"

int main() {
  using namespace moe;
  ModelConfig config;
  config.d_model = 16;
  config.has_moe = true;
  config.moe.n_experts = 4;
  config.moe.top_k = 2;
  config.moe.d_ff = 32;
  const MoeLayer layer(config, DType::f32);

  // Random weights: a visitor sees every parameter.
  Visitor visitor;
  std::vector<Parameter> parameters;
  visitor.parameter = [&](const Parameter& p) { parameters.push_back(p); };
  layer.visit(visitor);
  const RngStream rng = Rng{.seed = 1, .step = 0}.stream("example");
  for (size_t i = 0; i < parameters.size(); ++i)
    for (const Piece& piece : parameters[i].pieces) {
      const Tensor w = read_piece(parameters[i].var.value(), piece);
      for (size_t j = 0; j < w.data<float>().size(); ++j)
        w.data<float>()[j] = 0.3f * float(rng.normal(int64_t(j), int64_t(i)));
      write_piece(parameters[i].var.value(), piece, w);
    }

  const ForwardContext ctx =
      pack_sequences({{0, 0, 0, 0}});  // four tokens; a router may ask for their ids
  const Var x_TD(Tensor::empty({4, config.d_model}, DType::f32), true);
  for (size_t j = 0; j < x_TD.value().data<float>().size(); ++j)
    x_TD.value().data<float>()[j] = float(rng.normal(int64_t(j), 99));

  Tape tape;
  const MoeOutput out = layer(x_TD, ctx);
  for (const Pick& pick : out.picks)
    std::printf("token %d -> expert %d (choice %d)\n", pick.token, pick.expert, pick.choice);
  std::printf("auxiliary loss %.4f\n", out.aux_loss.value().data<double>()[0]);
  tape.backward(out.aux_loss);
  std::printf("gradients reached %zu parameters\n", parameters.size());
  return out.picks.size() == 8 ? 0 : 1;
}
