// Adamax (Kingma & Ba 2015, algorithm 2): Adam with the infinity norm of past gradients.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"
#include "bias_correction.hpp"
#include "larger.hpp"

namespace fastopt {

struct AdamaxOptions {
  double lr, beta1, beta2, eps, eps_outside_max, scaled_prox;

  static constexpr const char* name = "adamax";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 2e-3},        Option{"beta1", Range::zero_to_below_1, 0.9},
      Option{"beta2", Range::zero_to_below_1, 0.999}, Option{"eps", Range::denominator, 1e-8},
      Option{"eps_outside_max", Range::flag},         Option{"scaled_prox", Range::flag}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"u"}};
};

template <class T>
struct Adamax {
  static constexpr int states = 2;
  double metric_lr;
  T beta1, one_minus_beta1, beta2, step_size, eps_inside, eps_outside;

  Adamax(const AdamaxOptions& given, double t)
      : metric_lr(given.lr),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        beta2(T(given.beta2)),
        step_size(T(given.lr / BiasCorrections::of_thread()(given.beta1, t))),
        eps_inside(T(given.eps_outside_max != 0 ? 0 : given.eps)),
        eps_outside(T(given.eps_outside_max != 0 ? given.eps : 0)) {}

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& u) const {
    m = beta1 * m + one_minus_beta1 * g;
    u = larger(beta2 * u, std::fabs(g) + eps_inside);
    p -= step_size * (m / metric(m, u));
  }

  FASTOPT_INLINE T metric(T /*m*/, T u) const { return u + eps_outside; }
};

}  // namespace fastopt
