// A number that may be beyond what a double holds: a norm, or a scale that is one divided by it.
#pragma once
#include <cmath>

namespace fastopt {

struct Wide {
  double value = 0;
  int exponent = 0;  // what it is: value * 2^exponent

  // Multiplied by `factor` and rounded to a double: nothing on the way is out of its range.
  double times(double factor) const {
    if (exponent == 0) return factor * value;
    int of_factor, of_value;
    const double product = std::frexp(factor, &of_factor) * std::frexp(value, &of_value);
    return std::ldexp(product, of_factor + of_value + exponent);
  }

  Wide operator-() const { return {-value, exponent}; }
};

}  // namespace fastopt
