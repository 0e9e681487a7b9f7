// Adam (Kingma & Ba 2015, algorithm 1). The bias corrections are the same for every element of a
// step, so they arrive folded into two scalars.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"
#include "bias_correction.hpp"

namespace fastopt {

struct AdamOptions {
  double lr, beta1, beta2, eps, epsilon_hat, scaled_prox, bias_correction;

  static constexpr const char* name = "adam";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1e-3},
                                      Option{"beta1", Range::zero_to_below_1, 0.9},
                                      Option{"beta2", Range::zero_to_below_1, 0.999},
                                      Option{"eps", Range::denominator, 1e-8},
                                      Option{"epsilon_hat", Range::flag},
                                      Option{"scaled_prox", Range::flag},
                                      Option{"bias_correction", Range::flag, 1}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"v"}};
};

template <class T>
struct Adam {
  static constexpr int states = 2;
  double metric_lr;  // what a gradient is multiplied by, but for its division by the metric
  T beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, inv_sqrt_correction2, eps;

  Adam(const AdamOptions& given, double t)
      : beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        beta2(T(given.beta2)),
        one_minus_beta2(T(1 - given.beta2)),
        eps(T(given.eps)) {
    const bool hat = given.epsilon_hat != 0, corrects = given.bias_correction != 0;
    double correction1 = 1, sqrt_correction2 = 1;
    if (corrects) {
      BiasCorrections& correction = BiasCorrections::of_thread();
      correction1 = correction(given.beta1, t);
      sqrt_correction2 = std::sqrt(correction(given.beta2, t));
    }
    // The paper corrects v before eps is added; "epsilon hat" (the remark at the end of its section
    // 2, and what Keras does) moves the correction of v into the step size.
    step_size = T(hat ? given.lr * sqrt_correction2 / correction1 : given.lr / correction1);
    inv_sqrt_correction2 = T(hat ? 1 : 1 / sqrt_correction2);
    metric_lr = hat ? given.lr * sqrt_correction2 : given.lr;
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& v) const { p -= update(g, m, v); }

  FASTOPT_INLINE T update(T g, T& m, T& v) const {
    average(g, m, v);
    return step_size * (m / metric(m, v));
  }

  FASTOPT_INLINE void average(T g, T& m, T& v) const {
    m = beta1 * m + one_minus_beta1 * g;
    v = beta2 * v + one_minus_beta2 * (g * g);
  }

  FASTOPT_INLINE T metric(T /*m*/, T v) const { return std::sqrt(v) * inv_sqrt_correction2 + eps; }
};

}  // namespace fastopt
