// SPDX-License-Identifier: MIT
#include "moe/nn/adapter_targets.h"

#include <map>

#include "moe/nn/lora.h"

namespace moe {

std::vector<AdapterTarget> adapter_targets(const TransformerLM& model, int adapter) {
  std::vector<AdapterTarget> out;
  std::map<std::string, size_t> number_of;
  for (const Parameter& p : adapter_parameters(model, adapter))
    for (const Piece& piece : p.pieces) {
      const size_t end = std::min(piece.name.find(".lora_"), piece.name.rfind(".weight"));
      const std::string name = piece.name.substr(0, end);
      const auto [at, is_new] = number_of.try_emplace(name, out.size());
      if (is_new) out.push_back({.name = name});
      AdapterTarget& target = out[at->second];
      if (piece.name.ends_with(".lora_A.weight")) target.rank = piece.rows;
      if (piece.name.ends_with(".lora_embedding_A")) target.rank = p.var.shape()[-1];
      target.parameters += piece_shape(p, piece).numel();
      target.pieces.emplace_back(p, piece);
    }
  return out;
}

}  // namespace moe
