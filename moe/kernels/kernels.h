// SPDX-License-Identifier: MIT
// The list of every kernel. `ref` tables are the specification (float and double), `cpu` tables are
// fast and equal ref<float> bit for bit; docs/NUMERICS.md says which chain of operations each
// output element is.
//
// Conventions: outputs first, then inputs, then numbers. Forward kernels overwrite; backward
// kernels accumulate (+=) and go on from the value in memory; those with an `accumulate` argument
// start from +0 when it is false, and the memory may then hold anything. A kernel allocates no
// tensor storage (small per-thread scratch is kept between calls) and splits outputs, never a sum,
// over the thread team. All MatViews and PanelViews of a call have the table's dtype, but for
// those that narrow writes and widen reads.
#pragma once

#include <cstdint>
#include <span>

#include "moe/tensor/tensor.h"

namespace moe {

enum class Activation { relu, gelu_tanh, gelu_erf, silu, sigmoid };

/// Rows grouped by expert: rows [offsets_E1[e], offsets_E1[e+1]) belong to expert e. A plain linear
/// layer is one expert. y: [R, w.map.out_cols()]; x: [R, K]. With gather_R row r of the product is
/// row gather_R[r] of x, with scatter_R row scatter_R[r] of y; several rows may then share one row,
/// which takes them in the order of r. Each ascends inside an expert.
struct GroupedGemm {
  MatView y;        // output of the product; holds dy in the backward calls
  MatView x;        // input; receives dx in grouped_gemm_dx
  PanelView w;      // weights; receives dW in grouped_gemm_dw
  MatView bias_EN;  // [E, out_cols], forward only; may be empty
  std::span<const int32_t> offsets_E1;
  const int32_t* gather_R = nullptr;  // dx: x[gather_R[r]] = x[gather_R[r]] + the finished chain
  const int32_t* scatter_R =
      nullptr;             // forward, with weight_R1: y[scatter_R[r]] = fma(weight_R1[r],
                           // chain + bias, y[scatter_R[r]]), y begins as the caller says
  MatView weight_R1 = {};  // forward with scatter_R only
  bool accumulate = true;  // dx and dw; false also sets pads and experts without rows to 0
};

struct Rope {
  MatView cos_PR, sin_PR;  // [positions, rotary_dim / 2], already scaled
  std::span<const int32_t> positions_T;
  int64_t heads = 1, head_dim = 0,
          rotary_dim = 0;    // x: [T, heads * head_dim]; the rest of a head passes through
  bool interleaved = false;  // pairs (2i, 2i+1) instead of (i, i + rotary_dim / 2)
  bool accumulate = true;    // rope_bwd
};

inline constexpr int64_t kKvBlock =
    64;  // keys per block, counted from the sequence's own position 0
inline constexpr int64_t kKvSegment = 1024;  // keys per segment of the softmax state

/// Row width of a value block: columns beyond the head dim are pads whose content nobody reads.
constexpr int64_t kv_value_width(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

/// One sequence's keys and values. Block b holds positions [64 b, 64 b + 64) of all kv heads;
/// inside it, kv head g has its keys at k[b] + g * k_head_stride as [A][64] and its values at v[b]
/// + g * v_head_stride as [64][kv_value_width(Av)] (elements).
struct KvBlocks {
  void* const* k = nullptr;
  void* const* v = nullptr;
  int64_t k_head_stride = 0, v_head_stride = 0;
};

/// n consecutive tokens of one sequence: packed rows [row, row + n), positions [position, position
/// + n).
struct AttentionSequence {
  int64_t row = 0, n = 0, position = 0;
  KvBlocks kv;
};

/// What one attention layer computes: s = (q . k) * scale, soft-cap, + bias, mask; o = softmax(s)
/// v.
struct AttentionConfig {
  int64_t
      H = 1,
      G = 1, A = 1,
      Av = 1;  // query heads, kv heads, head dims of q/k and of v; head h reads kv head h / (H / G)
  double scale = 1;
  int64_t window = 0;      // query t sees keys (t - window, t]; 0: all up to t
  double softcap = 0;      // s = tanh(s / softcap) * softcap; 0: off
  MatView sink_H;          // [1, H] logits that join the denominator; may be empty
  MatView alibi_slopes_H;  // [1, H]: + slope * (key - query); may be empty
  MatView t5_table_UH;     // [buckets, H]: + table[bucket(query - key)][h]; may be empty
  std::span<const int32_t>
      t5_bucket_of_distance;  // distance -> bucket; larger distances take the last entry
  MatView shaw_k_CA,
      shaw_v_CA;  // [2c + 1, A], [2c + 1, Av]: row clip(key - query, -c, c) + c; may be empty
};

struct AttentionForward {
  MatView o;               // [T, H * Av]
  MatView max_TH, sum_TH;  // softmax state, kept for backward
  MatView q;               // [T, H * A]
  std::span<const AttentionSequence> sequences;
  AttentionConfig config;
};

struct AttentionBackward {                                // whole sequences: position == 0
  MatView dq, dk, dv;                                     // [T, H * A], [T, G * A], [T, G * Av]
  MatView dsink_H, dt5_table_UH, dshaw_k_CA, dshaw_v_CA;  // those whose forward operand is present
  MatView do_, o, max_TH, sum_TH, q;
  MatView delta_TH, rsum_TH;  // workspace, overwritten: sum(dO * o), 1 / sum
  std::span<const AttentionSequence> sequences;
  AttentionConfig config;
};

/// Keys and values of n new tokens into a sequence's blocks. k: [T, G * A], v: [T, G * Av], rows as
/// in AttentionSequence.
struct KvStore {
  MatView k, v;
  std::span<const AttentionSequence> sequences;
  int64_t G = 1, A = 1, Av = 1;
};

/// y[t] = sum over token t's assignments i in [token_offsets[t], token_offsets[t+1]) of w[i] *
/// rows[row_of[i]], ascending i, from 0.
struct Combine {
  MatView y_TD;     // holds dy in combine_bwd
  MatView rows_RD;  // expert outputs
  MatView w_1N;     // [1, assignments]
  std::span<const int32_t> token_offsets_T1;
  std::span<const int32_t> row_of_N;
  MatView drows_RD, dw_1N;  // combine_bwd only; each row belongs to exactly one assignment
  bool accumulate = true;   // combine_bwd: drows
};

struct AdamW {
  double lr, beta1, beta2, eps, weight_decay;
  double bias_correction1, bias_correction2;  // 1 - beta^t
  double grad_scale;                          // clip factor, applied to the gradient first
};

struct Kernels {
  const char* name;  // "ref-f32", "ref-f64", "cpu-avx2", "cpu-avx512", ...
  DType dtype;

  // ---- linear maps (panel weights)
  // --------------------------------------------------------------------------------
  void (*grouped_gemm)(const GroupedGemm&);  // y = x W^T, then + bias
  void (*grouped_gemm_dx)(
      const GroupedGemm&);  // x += y W, over the weight's rows in stored order, pads left out
  void (*grouped_gemm_dw)(
      const GroupedGemm&);  // W += y^T x, over the rows of each expert ascending
  void (*bias_bwd)(MatView db_EN, MatView dy_RN,
                   std::span<const int32_t> offsets_E1);  // additions over rows ascending
  void (*embedding_fwd)(MatView y_TD, PanelView w_VD, std::span<const int32_t> ids_T);
  void (*embedding_bwd)(PanelView dw_VD, MatView dy_TD,
                        std::span<const int32_t> ids_T);  // per row additions, tokens ascending

  // ---- normalisation: x is [T, groups * N], each group normalised by itself with the shared
  // weight [1, N] ---------
  void (*rms_norm_fwd)(MatView y, MatView rstd_TG, MatView x, MatView w_1N, int64_t groups,
                       double eps);
  void (*rms_norm_bwd)(MatView dx, MatView dw_1N, MatView dy, MatView x, MatView rstd_TG,
                       MatView w_1N, int64_t groups);
  void (*layer_norm_fwd)(MatView y, MatView mean_T1, MatView rstd_T1, MatView x, MatView w_1N,
                         MatView b_1N, double eps);  // b may be empty
  void (*layer_norm_bwd)(MatView dx, MatView dw_1N, MatView db_1N, MatView dy, MatView x,
                         MatView mean_T1, MatView rstd_T1, MatView w_1N);

  // ---- positions and attention
  // ---------------------------------------------------------------------------------------
  void (*rope_fwd)(MatView y, MatView x, const Rope&);
  void (*rope_bwd)(MatView dx, MatView dy, const Rope&);
  void (*kv_store)(const KvStore&);
  void (*attention_fwd)(const AttentionForward&);
  void (*attention_bwd)(const AttentionBackward&);

  // Without accumulate, act_bwd and gated_act_bwd may write dx over x and dgu over gu.
  // ---- activations: y = f(x); gated: h_RF = f(gate) * up, with gu [R, 2 F16] in alternating
  // panels of 16 columns -----
  void (*act_fwd)(MatView y, MatView x, Activation);
  void (*act_bwd)(MatView dx, MatView dy, MatView x, Activation, bool accumulate);
  void (*gated_act_fwd)(MatView h_RF, MatView gu, Activation);
  void (*gated_act_bwd)(MatView dgu, MatView dh_RF, MatView gu, Activation, bool accumulate);
  // Gradient and, once more, the value, in one pass: x becomes dx (gu dgu) and dy becomes y (dh h).
  // With weights w_R1, for rows that a weighted sum takes, dy and the value are multiplied by them
  // first, and dw_R1 = dw_R1 + the row reduction of fma(value, dy); both may be empty.
  void (*act_bwd_and_fwd)(MatView x, MatView dy, Activation, MatView w_R1, MatView dw_R1);
  void (*gated_act_bwd_and_fwd)(MatView gu, MatView dh_RF, Activation, MatView w_R1, MatView dw_R1);

  // ---- softmax and loss
  // ------------------------------------------------------------------------------------------------
  void (*softmax_fwd)(MatView p, MatView z);
  void (*softmax_bwd)(MatView dz, MatView dp, MatView p);
  void (*cross_entropy_fwd)(MatView loss_T1, MatView max_T1, MatView sum_T1, MatView z_TV,
                            std::span<const int32_t> targets_T);  // target -1: loss 0
  void (*cross_entropy_bwd)(MatView dz_TV, MatView z_TV, MatView max_T1, MatView sum_T1,
                            std::span<const int32_t> targets_T, double scale);

  // ---- elementwise and rows
  // ----------------------------------------------------------------------------------------------
  void (*add)(MatView y, MatView a, MatView b);
  void (*multiply)(MatView y, MatView a, MatView b);
  void (*scale)(MatView y, MatView a, double factor);
  void (*accumulate)(MatView y, MatView a);                       // y = y + a
  void (*multiply_accumulate)(MatView y, MatView a, MatView b);   // y = fma(a, b, y)
  void (*scale_accumulate)(MatView y, MatView a, double factor);  // y = fma(a, factor, y)
  // Two bytes a number: y16 and x16 are bf16 or f16, rounded to nearest even; round_to writes the
  // rounded numbers in the table's own type and may work in place.
  void (*narrow)(MatView y16, MatView x);
  void (*widen)(MatView y, MatView x16);
  void (*round_to)(MatView y, MatView x, DType type);
  void (*scale_columns_fwd)(MatView y, MatView x, MatView gamma_1D);  // y = x * gamma
  void (*scale_columns_bwd)(MatView dx, MatView dgamma_1D, MatView dy, MatView x, MatView gamma_1D);
  void (*scale_rows_fwd)(MatView y, MatView x, MatView w_T1);  // y[t] = w[t] * x[t]
  void (*scale_rows_bwd)(MatView dx, MatView dw_T1, MatView dy, MatView x, MatView w_T1);
  void (*gather_rows)(MatView y_RD, MatView x_TD, std::span<const int32_t> rows_R);
  void (*scatter_add_rows)(MatView x_TD, MatView y_RD,
                           std::span<const int32_t> rows_R);  // x[rows[r]] += y[r], r ascending
  void (*combine_fwd)(const Combine&);
  void (*combine_bwd)(const Combine&);
  void (*top_k)(std::span<int32_t> index_TK, MatView z_TE,
                int64_t k);  // falling values; ties: lower index; NaN last

  // ---- optimiser
  // ---------------------------------------------------------------------------------------------------------
  void (*adamw)(MatView p, MatView m, MatView v, MatView g, const AdamW&);
};

/// The specification: naive, scalar, one thread. T is float or double.
template <class T>
const Kernels& ref_kernels();

/// Every fast float32 table that this machine can run, best first.
std::span<const Kernels* const> cpu_kernels();

/// The table for float32 in use: the best cpu table unless use_kernels chose another ("avx2",
/// "avx512", "ref", a full name); an unknown or unsupported name is an Error. For float64 always
/// ref_kernels<double>.
const Kernels& kernels(DType dtype);
void use_kernels(const char* name);
void use_kernels(const Kernels& table);  // for tests and planted faults

/// Throws Error (what is missing, and that nothing older is supported) unless the processor has
/// AVX2 and FMA (x86) or NEON.
void check_processor();

}  // namespace moe
