// SPDX-License-Identifier: MIT
// What a module shows to the world: its parameters and buffers, by name. Checkpoints, optimisers,
// counting and initialisation are visitors. Names are Hugging Face's (Llama / Qwen3-MoE style);
// moe/families translates them for other families.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/autograd/var.h"

namespace moe {

/// What a parameter is for: decides weight decay, Muon, initialisation.
enum class Role { matrix, embedding, head, router, norm, bias, scale };

/// One named matrix or vector as it is saved: logical rows [row, row + rows) of matrix `matrix` of
/// the stored parameter.
struct Piece {
  std::string name;
  int64_t matrix = 0, row = 0, rows = 0;
  bool is_vector = false;  // a bias, saved as [rows]; row-major parameters (norms) are one piece of
                           // their own shape
};

/// A stored parameter. Fused ones (q, k, v; gate and up; all experts of a layer) have several
/// pieces.
struct Parameter {
  std::string name;
  Var var;
  Role role = Role::matrix;
  std::vector<Piece> pieces = {};
  std::vector<Var> other_uses = {};  // aliases with gradient buffers of their own, in forward order
  bool residual_output =
      false;  // writes into the residual stream: GPT-2's initialisation divides by sqrt(2 L)
};

/// A saved tensor that no optimiser touches (selection biases).
struct Buffer {
  std::string name;
  Tensor value;
};

struct LoraSite;
struct MixtureSite;

struct Visitor {
  std::function<void(const Parameter&)> parameter = [](const Parameter&) {};
  std::function<void(const Buffer&)> buffer = [](const Buffer&) {};
  std::string prefix = {};
  /// Weights that a low-rank adapter can be put on (moe/nn/lora.h).
  std::function<void(const LoraSite&)> site = [](const LoraSite&) {};
  /// Dense networks that LoRA experts can be put on (moe/nn/moe/moe_lora.h).
  std::function<void(const MixtureSite&)> mixture = [](const MixtureSite&) {};

  Visitor at(const std::string& name) const {
    return {parameter, buffer, prefix + name + ".", site, mixture};
  }
};

/// Shape of a piece as saved: [rows, in], [rows] for biases, the parameter's own when it is
/// row-major.
Shape piece_shape(const Parameter& parameter, const Piece& piece);
/// Row-major copy of a piece's values (or of another tensor laid out like the parameter: gradient,
/// optimiser state).
Tensor read_piece(const Tensor& stored, const Piece& piece);
void write_piece(const Tensor& stored, const Piece& piece, const Tensor& values);

/// Adds the gradients of the other uses to the first one, in forward order, and clears them.
void add_up_uses(const std::vector<Parameter>& parameters);

}  // namespace moe
