// The max-norm constraint (Srivastava et al. 2014, section 5.1).
#pragma once
#include "numpy_array.hpp"

namespace fastopt {

// Scales vectors of an array that are longer than `limit` to that length. The vectors lie along the
// first `vector_axes` axes; the other axes count them.
void limit_norms(const StridedArray& array, int vector_axes, double limit, int threads);

}  // namespace fastopt
