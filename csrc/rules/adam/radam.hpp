// RAdam (Liu et al. 2020, algorithm 2): Adam with a step that is rectified by how much is known of
// the variance, and momentum alone as long as that is too little.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"
#include "bias_correction.hpp"

namespace fastopt {

struct RadamOptions {
  double lr, beta1, beta2, eps, epsilon_hat, scaled_prox;

  static constexpr const char* name = "radam";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1e-3},        Option{"beta1", Range::zero_to_below_1, 0.9},
      Option{"beta2", Range::zero_to_below_1, 0.999}, Option{"eps", Range::denominator, 1e-8},
      Option{"epsilon_hat", Range::flag, 1},          Option{"scaled_prox", Range::flag}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"v"}};
};

template <class T>
struct Radam {
  static constexpr int states = 2;
  double metric_lr;
  T beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, inv_sqrt_correction2, eps, adapts;

  Radam(const RadamOptions& given, double t)
      : metric_lr(given.lr),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        beta2(T(given.beta2)),
        one_minus_beta2(T(1 - given.beta2)),
        inv_sqrt_correction2(1),
        eps(T(given.eps)),
        adapts(0) {
    BiasCorrections& corrections = BiasCorrections::of_thread();
    const double correction1 = corrections(given.beta1, t),
                 correction2 = corrections(given.beta2, t);
    // The length of a plain average that would know as much as this one, in the end and now.
    const double most = 2 / (1 - given.beta2) - 1;
    const double length = most - 2 * t * std::pow(given.beta2, t) / correction2;
    if (length > 5) {
      adapts = 1;
      metric_lr *=
          std::sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length));
      if (given.epsilon_hat != 0)
        metric_lr *= std::sqrt(correction2);
      else
        inv_sqrt_correction2 = T(1 / std::sqrt(correction2));
    }
    step_size = T(metric_lr / correction1);
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& v) const {
    m = beta1 * m + one_minus_beta1 * g;
    v = beta2 * v + one_minus_beta2 * (g * g);
    p -= step_size * (m / metric(m, v));
  }

  FASTOPT_INLINE T metric(T /*m*/, T v) const {
    return adapts != 0 ? std::sqrt(v) * inv_sqrt_correction2 + eps : T(1);
  }
};

}  // namespace fastopt
