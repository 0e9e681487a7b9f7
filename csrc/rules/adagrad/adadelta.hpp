// Adadelta (Zeiler 2012, algorithm 1).
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"

namespace fastopt {

struct AdadeltaOptions {
  double lr, rho, eps;

  static constexpr const char* name = "adadelta";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1},
                                      Option{"rho", Range::zero_to_below_1, 0.9},
                                      Option{"eps", Range::denominator, 1e-6}};
  static constexpr std::array arrays{StateArray{"s"}, StateArray{"d"}};
};

template <class T>
struct Adadelta {
  static constexpr int states = 2;
  T lr, rho, one_minus_rho, eps;

  Adadelta(const AdadeltaOptions& given, double /*t*/)
      : lr(T(given.lr)), rho(T(given.rho)), one_minus_rho(T(1 - given.rho)), eps(T(given.eps)) {}

  FASTOPT_INLINE void operator()(T& p, T g, T& s, T& d) const {
    s = rho * s + one_minus_rho * (g * g);
    const T u = std::sqrt(d + eps) / std::sqrt(s + eps) * g;
    d = rho * d + one_minus_rho * (u * u);
    p -= lr * u;
  }
};

}  // namespace fastopt
