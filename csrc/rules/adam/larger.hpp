// The larger of two numbers.
#pragma once
#include "../../platform.hpp"

namespace fastopt {

// NaN where one is NaN, as NumPy's maximum.
template <class T>
FASTOPT_INLINE T larger(T a, T b) {
  const T more = a < b ? b : a;
  return b == b ? more : b;
}

}  // namespace fastopt
