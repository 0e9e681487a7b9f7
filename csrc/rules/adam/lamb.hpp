// LAMB (You et al. 2020, algorithm 2): Adam with steps whose length is in proportion to the norm of
// the array that they change.
#pragma once
#include <array>
#include <cmath>
#include <limits>

#include "../../platform.hpp"
#include "../option.hpp"
#include "bias_correction.hpp"

namespace fastopt {

struct LambOptions {
  double lr, beta1, beta2, eps, trust_decay, bias_correction, always_adapt, trust_clip, scaled_prox;

  static constexpr const char* name = "lamb";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1e-3},
                                      Option{"beta1", Range::zero_to_below_1, 0.9},
                                      Option{"beta2", Range::zero_to_below_1, 0.999},
                                      Option{"eps", Range::denominator, 1e-6},
                                      Option{"trust_decay", Range::non_negative, 1e-2},
                                      Option{"bias_correction", Range::flag, 1},
                                      Option{"always_adapt", Range::flag, 1},
                                      Option{"trust_clip", Range::flag},
                                      Option{"scaled_prox", Range::flag}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"v"}};
};

template <class T>
struct Lamb {
  static constexpr int states = 2, sums = 2;
  double metric_lr, adapts, clips;
  T beta1, one_minus_beta1, beta2, one_minus_beta2, inv_correction1, inv_sqrt_correction2, eps;
  T decay, ratio, unit, step_size;

  Lamb(const LambOptions& given, double t)
      : metric_lr(given.lr),
        adapts(given.always_adapt != 0 || given.trust_decay != 0),
        clips(given.trust_clip),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        beta2(T(given.beta2)),
        one_minus_beta2(T(1 - given.beta2)),
        inv_correction1(1),
        inv_sqrt_correction2(1),
        eps(T(given.eps)),
        decay(T(given.trust_decay)),
        ratio(1),
        unit(1),
        step_size(T(given.lr)) {
    if (given.bias_correction == 0) return;
    BiasCorrections& corrections = BiasCorrections::of_thread();
    inv_correction1 = T(1 / corrections(given.beta1, t));
    inv_sqrt_correction2 = T(1 / std::sqrt(corrections(given.beta2, t)));
  }

  FASTOPT_INLINE void measure(T p, T g, T m, T v, double (&values)[sums]) const {
    const double u = direction(p, g, m, v);
    values[0] = double(p) * p;
    values[1] = u * u;
  }

  // A direction is first brought to the length 1 and then to that of the step: the ratio of the two
  // norms may be out of range where they are not. Without norms in range, the ratio is 1.
  void adapt(const double* squares) {
    const double of_param = std::sqrt(squares[0]), inv_of_direction = 1 / std::sqrt(squares[1]);
    const double length = metric_lr * of_param, most = std::numeric_limits<T>::max();
    const bool in_range =
        of_param > 0 && inv_of_direction > 0 && length <= most && inv_of_direction <= most;
    const double trust = of_param * inv_of_direction;
    if (adapts == 0 || !in_range || (clips != 0 && trust > 1)) return;
    ratio = T(trust);
    unit = T(inv_of_direction);
    step_size = T(length);
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& v) const {
    p -= step_size * (unit * direction(p, g, m, v));
  }

  FASTOPT_INLINE T metric(T /*m*/, T v) const { return root(v) / ratio; }

 private:
  FASTOPT_INLINE T direction(T p, T g, T& m, T& v) const {
    m = beta1 * m + one_minus_beta1 * g;
    v = beta2 * v + one_minus_beta2 * (g * g);
    return inv_correction1 * (m / root(v)) + decay * p;
  }

  FASTOPT_INLINE T root(T v) const { return std::sqrt(v) * inv_sqrt_correction2 + eps; }
};

}  // namespace fastopt
