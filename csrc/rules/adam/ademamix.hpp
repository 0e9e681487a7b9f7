// AdEMAMix (Pagliardini, Ablin & Grangier 2024, algorithm 1): Adam with a second mean of the
// gradients, which remembers longer.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"
#include "bias_correction.hpp"

namespace fastopt {

struct AdemamixOptions {
  double lr, beta1, beta2, beta3, eps, alpha, alpha_warmup, beta3_warmup, scaled_prox;

  static constexpr const char* name = "ademamix";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1e-3},
                                      Option{"beta1", Range::zero_to_below_1, 0.9},
                                      Option{"beta2", Range::zero_to_below_1, 0.999},
                                      Option{"beta3", Range::zero_to_below_1, 0.9999},
                                      Option{"eps", Range::denominator, 1e-8},
                                      Option{"alpha", Range::non_negative, 5},
                                      Option{"alpha_warmup", Range::non_negative},
                                      Option{"beta3_warmup", Range::non_negative},
                                      Option{"scaled_prox", Range::flag}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"m_slow"}, StateArray{"v"}};
};

template <class T>
struct Ademamix {
  static constexpr int states = 3;
  double metric_lr;
  T lr, beta1, one_minus_beta1, beta2, one_minus_beta2, beta3, one_minus_beta3, alpha,
      inv_correction1, inv_sqrt_correction2, eps;

  Ademamix(const AdemamixOptions& given, double t)
      : metric_lr(given.lr),
        lr(T(given.lr)),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        beta2(T(given.beta2)),
        one_minus_beta2(T(1 - given.beta2)),
        eps(T(given.eps)) {
    BiasCorrections& corrections = BiasCorrections::of_thread();
    inv_correction1 = T(1 / corrections(given.beta1, t));
    inv_sqrt_correction2 = T(1 / std::sqrt(corrections(given.beta2, t)));
    double alpha_now = given.alpha;
    if (t < given.alpha_warmup) alpha_now *= t / given.alpha_warmup;
    alpha = T(alpha_now);
    double decay = given.beta3;
    if (t < given.beta3_warmup) {  // how long it remembers grows evenly, from what beta1 does
      const double share = t / given.beta3_warmup;
      const double logarithm =
          1 / ((1 - share) / std::log(given.beta1) + share / std::log(given.beta3));
      decay = std::min(std::exp(logarithm), given.beta3);
    }
    beta3 = T(decay);
    one_minus_beta3 = T(1 - decay);
    // A gradient counts in both means.
    if (given.scaled_prox != 0) metric_lr *= 1 + alpha_now * (1 - std::pow(decay, t));
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& m_slow, T& v) const {
    m = beta1 * m + one_minus_beta1 * g;
    m_slow = beta3 * m_slow + one_minus_beta3 * g;
    v = beta2 * v + one_minus_beta2 * (g * g);
    p -= lr * ((inv_correction1 * m + alpha * m_slow) / metric(m, m_slow, v));
  }

  FASTOPT_INLINE T metric(T /*m*/, T /*m_slow*/, T v) const {
    return std::sqrt(v) * inv_sqrt_correction2 + eps;
  }
};

}  // namespace fastopt
