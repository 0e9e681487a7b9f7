// The sign of a number.
#pragma once
#include "../platform.hpp"

namespace fastopt {

// That of zero is zero, that of NaN is NaN, as NumPy's sign.
template <class T>
FASTOPT_INLINE T sign(T x) {
  const T of_number = x > 0 ? T(1) : x < 0 ? T(-1) : T(0);
  return x == x ? of_number : x;
}

}  // namespace fastopt
