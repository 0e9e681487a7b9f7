// Yogi (Zaheer et al. 2018, algorithm 2): Adam whose mean of squares moves by no more than a share
// of the square that comes in, so that it does not forget quickly.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"
#include "../sign.hpp"
#include "bias_correction.hpp"

namespace fastopt {

struct YogiOptions {
  double lr, beta1, beta2, eps, scaled_prox, bias_correction;

  static constexpr const char* name = "yogi";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1e-2},
                                      Option{"beta1", Range::zero_to_below_1, 0.9},
                                      Option{"beta2", Range::zero_to_below_1, 0.999},
                                      Option{"eps", Range::denominator, 1e-3},
                                      Option{"scaled_prox", Range::flag},
                                      Option{"bias_correction", Range::flag, 1}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"v"}};
};

template <class T>
struct Yogi {
  static constexpr int states = 2;
  double metric_lr;
  T beta1, one_minus_beta1, one_minus_beta2, step_size, inv_sqrt_correction2, eps;

  Yogi(const YogiOptions& given, double t)
      : metric_lr(given.lr),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        one_minus_beta2(T(1 - given.beta2)),
        step_size(T(given.lr)),
        inv_sqrt_correction2(1),
        eps(T(given.eps)) {
    if (given.bias_correction == 0) return;
    BiasCorrections& corrections = BiasCorrections::of_thread();
    step_size = T(given.lr / corrections(given.beta1, t));
    inv_sqrt_correction2 = T(1 / std::sqrt(corrections(given.beta2, t)));
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& v) const {
    const T squared = g * g;
    m = beta1 * m + one_minus_beta1 * g;
    v -= one_minus_beta2 * sign(v - squared) * squared;
    p -= step_size * (m / metric(m, v));
  }

  FASTOPT_INLINE T metric(T /*m*/, T v) const { return std::sqrt(v) * inv_sqrt_correction2 + eps; }
};

}  // namespace fastopt
