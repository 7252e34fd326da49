// SPDX-License-Identifier: MIT
#include "moe/autograd/recompute.h"

namespace moe {

std::vector<Var> record_recomputed(const std::vector<Tensor>& outs,
                                   std::function<std::vector<Var>()> again) {
  return record_always("recompute", outs,
                       [again = std::move(again)](const std::vector<Tensor>& douts) {
                         Tape tape;
                         const std::vector<Var> ys = again();
                         for (size_t i = 0; i < ys.size(); ++i)
                           if (ys[i].needs_grad()) ys[i].set_grad(douts[i]);
                         tape.backward_from_grads();
                       });
}

}  // namespace moe
