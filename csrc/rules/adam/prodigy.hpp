// Prodigy (Mishchenko & Defazio 2023, algorithm 4): Adam with a step length d that it finds, by how
// far the gradients go along with the way from where the parameters began.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "../../platform.hpp"
#include "../option.hpp"
#include "bias_correction.hpp"

namespace fastopt {

struct ProdigyOptions {
  double lr, beta1, beta2, beta3, eps, d_decay, use_bias_correction, safeguard_warmup, d0, d_coef,
      growth_rate, per_array;

  static constexpr const char* name = "prodigy";
  static constexpr bool same = true;  // of all arrays that have d in common
  static constexpr std::array options{Option{"lr", Range::non_negative, 1},
                                      Option{"beta1", Range::zero_to_below_1, 0.9},
                                      Option{"beta2", Range::zero_to_below_1, 0.999, nullptr, same},
                                      Option{"beta3", Range::zero_to_below_1, 0, nullptr, same},
                                      Option{"eps", Range::denominator, 1e-8},
                                      Option{"d_decay", Range::non_negative},
                                      Option{"use_bias_correction", Range::flag},
                                      Option{"safeguard_warmup", Range::flag},
                                      Option{"d0", Range::positive, 1e-6, nullptr, same},
                                      Option{"d_coef", Range::positive, 1, nullptr, same},
                                      Option{"growth_rate", Range::non_negative, 0, nullptr, same},
                                      Option{"per_array", Range::flag}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"v"}, StateArray{"s"},
                                     StateArray{"p0"}};
  static constexpr std::array scalars{StateScalar{"d_now", 0.0}, StateScalar{"d_max", 0.0},
                                      StateScalar{"d_numerator", 0.0}};

  // A new state has no d yet.
  double d(const double* of_state) const { return of_state[0] > 0 ? of_state[0] : d0; }
  double decay_of_sums() const { return beta3 > 0 ? beta3 : std::sqrt(beta2); }
};

template <class T>
struct Prodigy {
  static constexpr int states = 4, sums = 2;
  double d_lr, of_product;
  T beta1, of_grad, beta2, of_square, beta3, of_sum, first, decay, step_size, eps;

  // It only reads the numbers of the state: `adapt` advances them.
  Prodigy(const ProdigyOptions& given, double t, const double* scalars)
      : beta1(T(given.beta1)),
        beta2(T(given.beta2)),
        beta3(T(given.decay_of_sums())),
        first(T(t == 1)) {
    const double d = given.d(scalars);
    d_lr = d * given.lr;
    if (given.use_bias_correction != 0) {
      BiasCorrections& corrections = BiasCorrections::of_thread();
      d_lr *= std::sqrt(corrections(given.beta2, t)) / corrections(given.beta1, t);
    }
    of_product = d / given.d0 * d_lr;
    of_sum = T(given.safeguard_warmup != 0 ? d / given.d0 * d : of_product);
    of_grad = T(d * (1 - given.beta1));
    of_square = T(d * d * (1 - given.beta2));
    decay = T(given.d_decay * d_lr);
    step_size = T(d_lr);
    eps = product(d, given.eps);
  }

  FASTOPT_INLINE void measure(T p, T g, T /*m*/, T /*v*/, T s, T p0, double (&values)[sums]) const {
    values[0] = of_product * (double(g) * double(start(p, p0) - p));
    values[1] = std::fabs(double(advanced(s, g)));
  }

  // Means and rate are those of the d before; eps, and the gradient that stands for a mean without
  // beta1, have the new one. As long as there was no gradient, nothing moves.
  void adapt(const double* totals, const ProdigyOptions& given, double* scalars) {
    if (totals[1] == 0) decay = step_size = 0;
    const double numerator = given.decay_of_sums() * scalars[2] + totals[0];
    const double d_hat = given.d_coef * numerator / totals[1];
    if (!std::isfinite(d_hat)) return;
    const double before = given.d(scalars), d_max = std::max(std::max(scalars[1], before), d_hat);
    const double d = before == given.d0 ? std::max(before, d_hat) : before;
    scalars[0] = given.growth_rate > 0 ? std::min(d_max, d * given.growth_rate) : d_max;
    scalars[1] = d_max;
    scalars[2] = numerator;
    eps = product(scalars[0], given.eps);
    if (given.beta1 == 0) step_size = T(d_lr * (scalars[0] / before));
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& v, T& s, T& p0) const {
    p0 = start(p, p0);
    m = beta1 * m + of_grad * g;
    v = beta2 * v + of_square * (g * g);
    s = advanced(s, g);
    p -= decay * p;
    p -= step_size * (m / (std::sqrt(v) + eps));
  }

 private:
  FASTOPT_INLINE T start(T p, T p0) const { return first != 0 ? p : p0; }
  FASTOPT_INLINE T advanced(T s, T g) const { return beta3 * s + of_sum * g; }

  // What keeps a denominator from zero does not become zero.
  static T product(double d, double given_eps) {
    constexpr T smallest = std::numeric_limits<T>::min();
    const T rounded = T(d * given_eps);
    return given_eps > 0 && rounded < smallest ? smallest : rounded;
  }
};

}  // namespace fastopt
