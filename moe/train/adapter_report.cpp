// SPDX-License-Identifier: MIT
#include "moe/train/adapter_report.h"

#include <cmath>

#include "moe/base/error.h"
#include "moe/families/model_folder.h"
#include "moe/train/run_data.h"
#include "moe/train/trainer.h"

namespace moe {

std::vector<AdapterTarget> report_adapter(const RunConfig& given) {
  RunConfig config = given;
  if (!config.has_adapter())
    throw Error("[lora] the configuration has no lora.targets", ExitCode::usage);
  const RunData data = open_run_data(config, "");
  if (config.model.vocab_size == 0) config.model.vocab_size = data.data.vocab_size;
  TransformerLM model(config.model);
  load_weights(model, resolve_model_folder(config.model.init_from));
  freeze(model);
  model.use_adapter(add_adapter(model, config.lora, uint64_t(config.train.seed)));
  Trainer trainer(config, data.data, model);
  trainer.fix_learning_rate(0);
  trainer.step();
  std::vector<AdapterTarget> out;
  std::vector<double> squares;
  for (const Parameter& p : trainer.parameters())
    for (const Piece& piece : p.pieces) {
      const std::string name = piece.name.substr(0, piece.name.find(".lora_"));
      size_t i = 0;
      while (i < out.size() && out[i].name != name) ++i;
      if (i == out.size()) {
        out.push_back({.name = name});
        squares.push_back(0);
      }
      const bool is_a = piece.name.find(".lora_A") != std::string::npos;
      if (is_a) out[i].rank = piece.rows;
      if (piece.name.find(".lora_embedding_A") != std::string::npos)
        out[i].rank = p.var.shape()[-1];
      out[i].parameters += piece_shape(p, piece).numel();
      const Tensor gradient = read_piece(p.var.grad(), piece);
      with_elements(gradient, [&](auto values) {
        for (const auto x : values) squares[i] += double(x) * double(x);
      });
    }
  for (size_t i = 0; i < out.size(); ++i) out[i].grad_norm = std::sqrt(squares[i]);
  return out;
}

}  // namespace moe
