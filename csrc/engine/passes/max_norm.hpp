// The max-norm constraint (Srivastava et al. 2014, section 5.1).
#pragma once
#include "../tensors/layout.hpp"

namespace fastopt {

// One array as it lies in memory; Streams::param alone has strides.
struct LaidOut {
  char* data;
  Dtype dtype;
  Layout layout;
};

// Scales vectors of an array that are longer than `limit` to that length. The vectors lie along the
// first `vector_axes` axes; the other axes count them.
void limit_norms(const LaidOut& array, int vector_axes, double limit, int threads);

}  // namespace fastopt
