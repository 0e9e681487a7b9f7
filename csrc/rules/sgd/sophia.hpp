// Sophia (Liu et al. 2023, algorithm 3): a mean of gradients over one of the Hessian's diagonal, of
// which the caller has estimates now and then, and clipped.
#pragma once
#include <array>

#include "../../platform.hpp"
#include "../adam/bias_correction.hpp"
#include "../bounded.hpp"
#include "../option.hpp"

namespace fastopt {

struct SophiaOptions {
  double lr, beta1, rho, eps, eps_outside_max, bias_correction;

  static constexpr const char* name = "sophia";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1e-4},   Option{"beta1", Range::zero_to_below_1, 0.965},
      Option{"rho", Range::non_negative, 0.04},  Option{"eps", Range::denominator, 1e-15},
      Option{"eps_outside_max", Range::flag, 1}, Option{"bias_correction", Range::flag}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"h"}};
};

template <class T>
struct Sophia {
  static constexpr int states = 2, only_read = 1;
  T lr, beta1, one_minus_beta1, inv_correction1, rho, least, eps_outside;

  Sophia(const SophiaOptions& given, double t)
      : lr(T(given.lr)),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        inv_correction1(1),
        rho(T(given.rho)),
        least(T(given.eps_outside_max != 0 ? 0 : given.eps)),
        eps_outside(T(given.eps_outside_max != 0 ? given.eps : 0)) {
    if (given.bias_correction != 0)
      inv_correction1 = T(1 / BiasCorrections::of_thread()(given.beta1, t));
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T h) const {
    m = beta1 * m + one_minus_beta1 * g;
    const T scaled = rho * h;
    const T curvature = (scaled < least ? least : scaled) + eps_outside;
    p -= lr * bounded(m * inv_correction1 / curvature, T(1));
  }
};

}  // namespace fastopt
