// Schedule-Free AdamW (Defazio et al. 2024): schedulefree_sgd.hpp with the direction of Adam's
// second moment, and a decay within it.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"
#include "../schedulefree.hpp"
#include "bias_correction.hpp"

namespace fastopt {

struct ScheduleFreeAdamwOptions {
  double lr, beta1, beta2, eps, y_decay, warmup_steps, r, weight_lr_power;

  static constexpr const char* name = "schedulefree_adamw";
  static constexpr std::array options{Option{"lr", Range::non_negative, 2.5e-3},
                                      Option{"beta1", Range::above_0_to_1, 0.9},
                                      Option{"beta2", Range::zero_to_below_1, 0.999},
                                      Option{"eps", Range::denominator, 1e-8},
                                      Option{"y_decay", Range::non_negative},
                                      Option{"warmup_steps", Range::non_negative},
                                      Option{"r", Range::non_negative},
                                      Option{"weight_lr_power", Range::non_negative, 2}};
  static constexpr std::array arrays{StateArray{"z"}, StateArray{"v"}};
  static constexpr std::array scalars{StateScalar{"weight_sum", 0.0}, StateScalar{"lr_max", 0.0}};
};

template <class T>
struct ScheduleFreeAdamw {
  static constexpr int states = 2;
  ScheduleFree<T> both;
  T beta2, one_minus_beta2, inv_sqrt_correction2, eps, decay;

  ScheduleFreeAdamw(const ScheduleFreeAdamwOptions& given, double t, double* scalars)
      : both(given, given.beta1, t, scalars),
        beta2(T(given.beta2)),
        one_minus_beta2(T(1 - given.beta2)),
        inv_sqrt_correction2(T(1 / std::sqrt(BiasCorrections::of_thread()(given.beta2, t)))),
        eps(T(given.eps)),
        decay(T(given.y_decay)) {}

  FASTOPT_INLINE void operator()(T& p, T g, T& z, T& v) const {
    v = beta2 * v + one_minus_beta2 * (g * g);
    const T u = g / (std::sqrt(v) * inv_sqrt_correction2 + eps) + decay * p;
    both.move(p, u, z);
  }
};

}  // namespace fastopt
