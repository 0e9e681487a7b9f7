// AdaBelief (Zhuang et al. 2020, algorithm 2): Adam that divides by how far gradients are from
// their mean.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"
#include "bias_correction.hpp"

namespace fastopt {

struct AdabeliefOptions {
  double lr, beta1, beta2, eps, scaled_prox;

  static constexpr const char* name = "adabelief";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1e-3}, Option{"beta1", Range::zero_to_below_1, 0.9},
      Option{"beta2", Range::zero_to_below_1, 0.999}, Option{"eps", Range::denominator, 1e-16},
      Option{"scaled_prox", Range::flag}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"s"}};
};

template <class T>
struct Adabelief {
  static constexpr int states = 2;
  double metric_lr;
  T beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, inv_sqrt_correction2, eps;

  Adabelief(const AdabeliefOptions& given, double t)
      : metric_lr(given.lr),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        beta2(T(given.beta2)),
        one_minus_beta2(T(1 - given.beta2)),
        eps(T(given.eps)) {
    BiasCorrections& corrections = BiasCorrections::of_thread();
    step_size = T(given.lr / corrections(given.beta1, t));
    inv_sqrt_correction2 = T(1 / std::sqrt(corrections(given.beta2, t)));
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& s) const {
    m = beta1 * m + one_minus_beta1 * g;
    const T surprise = g - m;
    s = beta2 * s + one_minus_beta2 * (surprise * surprise) + eps;
    p -= step_size * (m / metric(m, s));
  }

  FASTOPT_INLINE T metric(T /*m*/, T s) const { return std::sqrt(s) * inv_sqrt_correction2 + eps; }
};

}  // namespace fastopt
