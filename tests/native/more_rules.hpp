// A rule that uses what those of the library do not: six arrays and a number in its state, and sums
// over each array before it is applied to that. It is compiled into the engine for these tests.
#pragma once
#include <array>
#include <cmath>

#include "../../csrc/platform.hpp"
#include "../../csrc/rules/option.hpp"

namespace fastopt {

struct TrustOptions {
  double lr, beta;

  static constexpr const char* name = "trust";
  static constexpr std::array options{Option{"lr", Range::non_negative, 0.01},
                                      Option{"beta", Range::zero_to_below_1, 0.9}};
  static constexpr std::array arrays{StateArray{"a"}, StateArray{"b"}, StateArray{"c"},
                                     StateArray{"d"}, StateArray{"e"}, StateArray{"f"}};
  static constexpr std::array scalars{StateScalar{"product", 1.0}};
};

// Six averages in a row, and a step as long as the parameter in proportion to its direction.
template <class T>
struct Trust {
  static constexpr int states = 6, sums = 2;
  T lr, beta, one_minus_beta, product, ratio;

  Trust(const TrustOptions& given, double /*t*/, double* scalars)
      : lr(T(given.lr)), beta(T(given.beta)), one_minus_beta(T(1 - given.beta)), ratio(1) {
    scalars[0] *= given.beta;
    product = T(scalars[0]);
  }

  FASTOPT_INLINE T average(T x, T& state) const {
    return state = beta * state + one_minus_beta * x;
  }

  FASTOPT_INLINE T direction(T g, T& a, T& b, T& c, T& d, T& e, T& f) const {
    return g * product + average(average(average(average(average(average(g, a), b), c), d), e), f);
  }

  FASTOPT_INLINE void measure(T p, T g, T a, T b, T c, T d, T e, T f,
                              double (&values)[sums]) const {
    const double u = direction(g, a, b, c, d, e, f);
    values[0] = double(p) * p;
    values[1] = u * u;
  }

  void adapt(const double* sum) {
    ratio = sum[0] > 0 && sum[1] > 0 ? T(std::sqrt(sum[0] / sum[1])) : T(1);
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& a, T& b, T& c, T& d, T& e, T& f) const {
    p -= lr * ratio * direction(g, a, b, c, d, e, f);
  }
};

}  // namespace fastopt

#define FASTOPT_MORE_FAMILIES , Family<TrustOptions, Trust>
