// A number that may be beyond what a double holds: a norm, or a scale that is one divided by it.
#pragma once
#include <cmath>

namespace fastopt {

struct Wide {
  double value = 0;
  int exponent = 0;  // what it is: value * 2^exponent

  // Multiplied by `factor` and rounded to a double.
  double times(double factor) const {
    return exponent == 0 ? factor * value : std::ldexp(factor * value, exponent);
  }

  Wide operator-() const { return {-value, exponent}; }
};

}  // namespace fastopt
