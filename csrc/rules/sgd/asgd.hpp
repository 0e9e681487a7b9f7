// ASGD (Polyak & Juditsky 1992; Bottou 2010, section 4): SGD whose rate falls, and the mean of the
// parameters on the way.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"

namespace fastopt {

struct AsgdOptions {
  double lr, lambd, alpha, t0;

  static constexpr const char* name = "asgd";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1e-2}, Option{"lambd", Range::non_negative, 1e-4},
      Option{"alpha", Range::non_negative, 0.75}, Option{"t0", Range::non_negative, 1e6}};
  static constexpr std::array arrays{StateArray{"ax"}};
  static constexpr std::array scalars{StateScalar{"eta", 0.0}, StateScalar{"mu", 1.0}};
};

template <class T>
struct Asgd {
  static constexpr int states = 1;
  T keep, eta, mu;

  // Both numbers are those of the step that comes; the first has the learning rate of now.
  Asgd(const AsgdOptions& given, double t, double* scalars) {
    const double now = t == 1 ? given.lr : scalars[0];
    keep = T(1 - given.lambd * now);
    eta = T(now);
    mu = T(scalars[1]);
    scalars[0] = given.lr / std::pow(1 + given.lambd * given.lr * t, given.alpha);
    scalars[1] = 1 / (t - given.t0 > 1 ? t - given.t0 : 1);
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& ax) const {
    p = keep * p - eta * g;
    ax = mu == 1 ? p : ax + mu * (p - ax);
  }
};

}  // namespace fastopt
