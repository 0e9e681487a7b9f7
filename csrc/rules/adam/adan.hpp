// Adan (Xie et al. 2022, algorithm 1): Adam with Nesterov's momentum, made of the differences of
// gradients. The betas are what is kept, as in its authors' code: 1 less those of the paper.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"
#include "bias_correction.hpp"

namespace fastopt {

struct AdanOptions {
  double lr, beta1, beta2, beta3, eps, scaled_prox, bias_correction;

  static constexpr const char* name = "adan";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1e-3},       Option{"beta1", Range::zero_to_below_1, 0.98},
      Option{"beta2", Range::zero_to_below_1, 0.92}, Option{"beta3", Range::zero_to_below_1, 0.99},
      Option{"eps", Range::denominator, 1e-8},       Option{"scaled_prox", Range::flag},
      Option{"bias_correction", Range::flag, 1}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"d"}, StateArray{"n"},
                                     StateArray{"g_prev"}};
};

template <class T>
struct Adan {
  static constexpr int states = 4;
  double metric_lr;
  T lr, beta1, one_minus_beta1, beta2, one_minus_beta2, beta3, one_minus_beta3, inv_correction1,
      ahead, inv_sqrt_correction3, eps;
  T first;  // 0 or 1: there is no gradient before the first

  Adan(const AdanOptions& given, double t)
      : metric_lr(given.lr),
        lr(T(given.lr)),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        beta2(T(given.beta2)),
        one_minus_beta2(T(1 - given.beta2)),
        beta3(T(given.beta3)),
        one_minus_beta3(T(1 - given.beta3)),
        inv_correction1(1),
        ahead(T(given.beta2)),
        inv_sqrt_correction3(1),
        eps(T(given.eps)),
        first(T(t == 1)) {
    if (given.bias_correction == 0) return;
    BiasCorrections& corrections = BiasCorrections::of_thread();
    inv_correction1 = T(1 / corrections(given.beta1, t));
    ahead = T(given.beta2 / corrections(given.beta2, t));
    inv_sqrt_correction3 = T(1 / std::sqrt(corrections(given.beta3, t)));
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& d, T& n, T& g_prev) const {
    const T difference = first != 0 ? T(0) : g - g_prev;
    const T g_ahead = g + beta2 * difference;
    m = beta1 * m + one_minus_beta1 * g;
    d = beta2 * d + one_minus_beta2 * difference;
    n = beta3 * n + one_minus_beta3 * (g_ahead * g_ahead);
    g_prev = g;
    p -= lr * ((inv_correction1 * m + ahead * d) / metric(m, d, n, g_prev));
  }

  FASTOPT_INLINE T metric(T /*m*/, T /*d*/, T n, T /*g_prev*/) const {
    return std::sqrt(n) * inv_sqrt_correction3 + eps;
  }
};

}  // namespace fastopt
