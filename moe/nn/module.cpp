// SPDX-License-Identifier: MIT
#include "moe/nn/module.h"

namespace moe {

Shape piece_shape(const Parameter& parameter, const Piece& piece) {
  if (parameter.var.value().layout() == Layout::row_major) return parameter.var.shape();
  if (piece.is_vector) return {piece.rows};
  return {piece.rows, parameter.var.shape()[-1]};
}

Tensor read_piece(const Tensor& stored, const Piece& piece) {
  if (stored.layout() == Layout::row_major) {  // 1-D parameters
    MOE_CHECK(piece.row == 0 && piece.rows == stored.numel(), "[module] '", piece.name,
              "' is no part of a row-major parameter");
    return stored.clone();
  }
  const Tensor rows = read_rows(stored, piece.matrix, piece.row, piece.rows);
  return piece.is_vector ? rows.reshape({piece.rows}) : rows;
}

void write_piece(const Tensor& stored, const Piece& piece, const Tensor& values) {
  MOE_CHECK(values.dtype() == stored.dtype(), "[module] '", piece.name, "' is ",
            dtype_name(values.dtype()), ", the parameter ", dtype_name(stored.dtype()));
  if (stored.layout() == Layout::row_major) {
    MOE_CHECK(values.numel() == stored.numel(), "[module] '", piece.name, "' has ", values.numel(),
              " values, wanted ", stored.numel());
    std::memcpy(stored.raw(), values.raw(), size_t(values.stored_bytes()));
    return;
  }
  const int64_t cols = stored.shape()[-1];
  MOE_CHECK(values.numel() == piece.rows * cols, "[module] '", piece.name, "' has ", values.numel(),
            " values, wanted ", piece.rows, " x ", cols);
  write_rows(stored, piece.matrix, piece.row, values.reshape({piece.rows, cols}));
}

void add_up_uses(const std::vector<Parameter>& parameters) {
  for (const Parameter& p : parameters)
    for (const Var& use : p.other_uses) {
      if (!use.has_grad()) continue;
      accumulate(p.var.grad(), use.grad());
      use.clear_grad();
    }
}

}  // namespace moe
