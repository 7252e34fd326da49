// SPDX-License-Identifier: MIT
// How a weight's numbers lie in memory. A panel holds 16 output rows, k after k: P[out/16][in][16],
// so that one panel row is one cache line and one AVX-512 register. Training, prefill and decode
// read the same panels.
#pragma once

#include <array>
#include <cstdint>

namespace moe {

enum class Layout : uint8_t {
  row_major,
  panel16,  // [.., out, in] as [.., ceil(out/16)][in][16]; rows beyond `out` are pads, always 0
  panel16_gate_up,  // [.., 2F, in]: logical rows 0..F-1 are the gate, F..2F-1 the up projection;
                    // stored as whole alternating panels gate 0, up 0, gate 1, up 1 ..., so that
                    // any SIMD width sees pairs in one place
};

/// Where logical rows of one panel matrix lie. A "stored row" counts rows in memory order, pads
/// included.
struct PanelMap {
  int64_t rows = 0;  // logical output rows (2F for gate_up)
  int64_t cols = 0;  // inputs
  bool gate_up = false;

  int64_t half() const { return gate_up ? rows / 2 : rows; }
  int64_t panels() const { return (half() + 15) / 16 * (gate_up ? 2 : 1); }
  int64_t stored_rows() const { return panels() * 16; }
  int64_t stored_numel() const { return stored_rows() * cols; }
  int64_t stored_row(int64_t row) const {
    if (!gate_up) return row;
    const int64_t f = half(), i = row < f ? row : row - f;
    return (i / 16 * 2 + (row < f ? 0 : 1)) * 16 + i % 16;
  }
  /// Offset of element (logical row, col) from the start of this matrix.
  int64_t offset(int64_t row, int64_t col) const {
    const int64_t s = stored_row(row);
    return s / 16 * 16 * cols + col * 16 + s % 16;
  }
  /// Number of columns of an activation that this matrix makes: logical rows, or stored rows when
  /// gate and up alternate.
  int64_t out_cols() const { return gate_up ? stored_rows() : rows; }
  /// The stored rows that are not pads, as at most three ascending ranges [begin, end).
  struct Ranges {
    std::array<std::array<int64_t, 2>, 3> range;
    int count = 0;
  };
  Ranges valid_ranges() const {
    Ranges r;
    const int64_t tail = half() % 16;
    if (!gate_up || tail == 0) {
      r.range[0] = {0, gate_up ? stored_rows() : rows};
      r.count = rows > 0 ? 1 : 0;
      return r;
    }
    const int64_t last = stored_rows() - 32;
    if (last > 0) r.range[size_t(r.count++)] = {0, last};
    r.range[size_t(r.count++)] = {last, last + tail};
    r.range[size_t(r.count++)] = {last + 16, last + 16 + tail};
    return r;
  }
};

}  // namespace moe
