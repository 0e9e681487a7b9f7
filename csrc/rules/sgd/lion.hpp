// Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms", program 1).
#pragma once
#include <array>

#include "../../platform.hpp"
#include "../option.hpp"
#include "../sign.hpp"

namespace fastopt {

struct LionOptions {
  double lr, beta1, beta2;

  static constexpr const char* name = "lion";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1e-4},
                                      Option{"beta1", Range::zero_to_below_1, 0.9},
                                      Option{"beta2", Range::zero_to_below_1, 0.99}};
  static constexpr std::array arrays{StateArray{"m"}};
};

template <class T>
struct Lion {
  static constexpr int states = 1;
  T lr, beta1, one_minus_beta1, beta2, one_minus_beta2;

  Lion(const LionOptions& given, double /*t*/)
      : lr(T(given.lr)),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        beta2(T(given.beta2)),
        one_minus_beta2(T(1 - given.beta2)) {}

  FASTOPT_INLINE void operator()(T& p, T g, T& m) const { p -= update(g, m); }

  FASTOPT_INLINE T update(T g, T& m) const {
    const T u = lr * sign(beta1 * m + one_minus_beta1 * g);
    m = beta2 * m + one_minus_beta2 * g;
    return u;
  }
};

}  // namespace fastopt
