// SPDX-License-Identifier: MIT
#include "moe/kernels/ref/ref.h"

namespace moe {

template <class T>
const Kernels& ref_kernels() {
  static const Kernels table = [] {
    Kernels k{};
    k.name = sizeof(T) == 4 ? "ref-f32" : "ref-f64";
    k.dtype = dtype_of<T>;
    ref::install_linear<T>(k);
    ref::install_norm<T>(k);
    ref::install_rope<T>(k);
    ref::install_attention<T>(k);
    ref::install_activation<T>(k);
    ref::install_softmax<T>(k);
    ref::install_elementwise<T>(k);
    ref::install_rows<T>(k);
    ref::install_optimizer<T>(k);
    return k;
  }();
  return table;
}
template const Kernels& ref_kernels<float>();
template const Kernels& ref_kernels<double>();

}  // namespace moe
