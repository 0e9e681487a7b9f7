// The sign of a number.
#pragma once
#include <cmath>

#include "../platform.hpp"

namespace fastopt {

// That of zero is zero, that of NaN is NaN, as NumPy's sign. Adding zero makes -0 positive.
template <class T>
FASTOPT_INLINE T sign(T x) {
  return std::fabs(x) > 0 ? std::copysign(T(1), x) : x + T(0);
}

}  // namespace fastopt
