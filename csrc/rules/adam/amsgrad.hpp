// AMSGrad (Reddi, Kale & Kumar 2018, algorithm 2): Adam that divides by the largest mean of squares
// so far.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"
#include "adam.hpp"
#include "bias_correction.hpp"
#include "larger.hpp"

namespace fastopt {

struct AmsgradOptions {
  double lr, beta1, beta2, eps, epsilon_hat, scaled_prox, bias_correction, max_of_corrected;

  static constexpr const char* name = "amsgrad";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1e-3},
                                      Option{"beta1", Range::zero_to_below_1, 0.9},
                                      Option{"beta2", Range::zero_to_below_1, 0.999},
                                      Option{"eps", Range::denominator, 1e-8},
                                      Option{"epsilon_hat", Range::flag},
                                      Option{"scaled_prox", Range::flag},
                                      Option{"bias_correction", Range::flag, 1},
                                      Option{"max_of_corrected", Range::flag}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"v"}, StateArray{"v_max"}};

  AdamOptions of_adam() const {
    return {lr, beta1, beta2, eps, epsilon_hat, scaled_prox, bias_correction};
  }
};

template <class T>
struct Amsgrad : Adam<T> {
  static constexpr int states = 3;
  T correction;  // of v, before the maximum is taken

  Amsgrad(const AmsgradOptions& given, double t) : Adam<T>(given.of_adam(), t), correction(1) {
    if (given.max_of_corrected == 0 || given.bias_correction == 0) return;
    // What Adam does to v when it is used was done before, and must not be done again.
    BiasCorrections& corrections = BiasCorrections::of_thread();
    const double correction2 = corrections(given.beta2, t);
    correction = T(1 / correction2);
    this->inv_sqrt_correction2 = 1;
    if (given.epsilon_hat == 0) return;
    this->eps = T(given.eps / std::sqrt(correction2));
    this->step_size = T(given.lr / corrections(given.beta1, t));
    this->metric_lr = given.lr;
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& v, T& v_max) const {
    this->average(g, m, v);
    v_max = larger(v_max, v * correction);
    p -= this->step_size * (m / metric(m, v, v_max));
  }

  FASTOPT_INLINE T metric(T m, T /*v*/, T v_max) const { return Adam<T>::metric(m, v_max); }
};

}  // namespace fastopt
