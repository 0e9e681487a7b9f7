// Signum (Bernstein et al. 2018, algorithm 2): the sign of a mean of gradients. With a momentum of
// 0 it is SignSGD (algorithm 1).
#pragma once
#include <array>

#include "../../platform.hpp"
#include "../option.hpp"
#include "../sign.hpp"

namespace fastopt {

struct SignumOptions {
  double lr, momentum;

  static constexpr const char* name = "signum";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1e-3},
                                      Option{"momentum", Range::zero_to_below_1, 0.9}};
  static constexpr std::array arrays{StateArray{"m"}};
};

template <class T>
struct Signum {
  static constexpr int states = 1;
  T lr, momentum, one_minus_momentum;

  Signum(const SignumOptions& given, double /*t*/)
      : lr(T(given.lr)), momentum(T(given.momentum)), one_minus_momentum(T(1 - given.momentum)) {}

  FASTOPT_INLINE void operator()(T& p, T g, T& m) const {
    m = momentum * m + one_minus_momentum * g;
    p -= lr * sign(m);
  }
};

}  // namespace fastopt
