// NAdam (Dozat 2016): Adam that looks ahead, by a momentum that warms up.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"
#include "bias_correction.hpp"

namespace fastopt {

struct NadamOptions {
  double lr, beta1, beta2, eps, momentum_decay, warm_up, scaled_prox;

  static constexpr const char* name = "nadam";
  static constexpr std::array options{Option{"lr", Range::non_negative, 2e-3},
                                      Option{"beta1", Range::zero_to_below_1, 0.9},
                                      Option{"beta2", Range::zero_to_below_1, 0.999},
                                      Option{"eps", Range::denominator, 1e-8},
                                      Option{"momentum_decay", Range::non_negative, 4e-3},
                                      Option{"warm_up", Range::flag, 1},
                                      Option{"scaled_prox", Range::flag}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"v"}};
  static constexpr std::array scalars{StateScalar{"mu_product", 1.0}};
};

template <class T>
struct Nadam {
  static constexpr int states = 2;
  double metric_lr;
  T beta1, one_minus_beta1, beta2, one_minus_beta2, of_grad, of_mean, inv_sqrt_correction2, eps;

  Nadam(const NadamOptions& given, double t, double* scalars)
      : metric_lr(given.lr),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        beta2(T(given.beta2)),
        one_minus_beta2(T(1 - given.beta2)),
        eps(T(given.eps)) {
    const auto momentum = [&](double step) {
      if (given.warm_up == 0) return given.beta1;
      return given.beta1 * (1 - 0.5 * std::pow(0.96, step * given.momentum_decay));
    };
    const double now = momentum(t), next = momentum(t + 1), before = scalars[0];
    scalars[0] = before * now;
    of_grad = T(given.lr * (1 - now) / (1 - scalars[0]));
    of_mean = T(given.lr * next / (1 - scalars[0] * next));
    inv_sqrt_correction2 = T(1 / std::sqrt(BiasCorrections::of_thread()(given.beta2, t)));
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& v) const { p -= update(g, m, v); }

  FASTOPT_INLINE T update(T g, T& m, T& v) const {
    m = beta1 * m + one_minus_beta1 * g;
    v = beta2 * v + one_minus_beta2 * (g * g);
    return (of_grad * g + of_mean * m) / metric(m, v);
  }

  FASTOPT_INLINE T metric(T /*m*/, T v) const { return std::sqrt(v) * inv_sqrt_correction2 + eps; }
};

}  // namespace fastopt
