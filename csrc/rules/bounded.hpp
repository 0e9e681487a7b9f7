// A number within a bound.
#pragma once
#include "../platform.hpp"

namespace fastopt {

// The nearest to x in [-bound, bound]. NaN stays.
template <class T>
FASTOPT_INLINE T bounded(T x, T bound) {
  const T at_most = x > bound ? bound : x;
  return at_most < -bound ? -bound : at_most;
}

}  // namespace fastopt
