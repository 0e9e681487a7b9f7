// Adafactor (Shazeer & Stern 2018): steps in proportion to the parameters, and a second moment that
// is kept by rows and columns.
#pragma once
#include <array>
#include <cmath>
#include <limits>

#include "../../platform.hpp"
#include "../option.hpp"

namespace fastopt {

struct AdafactorOptions {
  double lr, beta2_decay, eps1, eps2, d, beta1, relative_step, scale_parameter, clamp, scaled_prox;

  static constexpr const char* name = "adafactor";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1e-2},
                                      Option{"beta2_decay", Range::non_positive, -0.8},
                                      Option{"eps1", Range::denominator, 1e-30},
                                      Option{"eps2", Range::non_negative, 1e-3},
                                      Option{"d", Range::positive, 1},
                                      Option{"beta1", Range::zero_to_below_1, 0, /*needs*/ "m"},
                                      Option{"relative_step", Range::flag, 1},
                                      Option{"scale_parameter", Range::flag, 1},
                                      Option{"clamp", Range::flag},
                                      Option{"scaled_prox", Range::flag}};
  static constexpr std::array factors{"v_row", "v_col"};
  static constexpr std::array arrays{StateArray{"m", /*optional*/ true}};
};

template <class T>
struct AdafactorBase {
  static constexpr int sums = 2;
  static constexpr bool sums_before_decay = true;
  double metric_lr;
  FactoredMoment moment;
  double eps2, d, scales;
  T beta1, one_minus_beta1, ratio, step_size;

  AdafactorBase(const AdafactorOptions& given, double t)
      : metric_lr(given.lr),
        eps2(given.eps2),
        d(given.d),
        scales(given.scale_parameter),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        ratio(1) {
    if (given.relative_step != 0 && 1 / std::sqrt(t) < metric_lr) metric_lr = 1 / std::sqrt(t);
    step_size = T(metric_lr);
    const double one_minus_beta2 = std::pow(t, given.beta2_decay);
    // A row and a column of zeros would meet in an estimate that underflows.
    constexpr double smallest = std::numeric_limits<T>::min();
    moment = {1 - one_minus_beta2, one_minus_beta2, given.eps1, std::numeric_limits<double>::min(),
              std::sqrt(smallest)};
    if (given.clamp == 0) return;
    constexpr double of_dtype = std::numeric_limits<T>::epsilon();
    const double least = given.eps1 > 0 ? given.eps1 : of_dtype;
    moment.added = 0;
    if (least > moment.least_mean) moment.least_mean = least;
    if (least > moment.least_root) moment.least_root = least;
  }

  FASTOPT_INLINE void add(T p, T g, T inverse_root, double (&values)[sums]) const {
    const double u = g * inverse_root;
    values[0] = double(p) * p;
    values[1] = u * u;
  }

  void adapt(const double* of_array) {
    const double count = of_array[2], of_param = std::sqrt(of_array[0] / count);
    const double clipped = std::sqrt(of_array[1] / count) / d;
    double scale = 1;
    const bool in_range = metric_lr * of_param <= std::numeric_limits<T>::max();
    if (scales != 0) scale = in_range && of_param > eps2 ? of_param : eps2;
    if (!(clipped <= 1)) scale = scale / clipped;  // NaN does not stay hidden
    ratio = T(scale);
    step_size = T(metric_lr * scale);
  }

  FASTOPT_INLINE T metric_of(T inverse_root) const { return 1 / (ratio * inverse_root); }
};

template <class T>
struct Adafactor : AdafactorBase<T> {
  static constexpr int states = 1;  // the estimate
  using AdafactorBase<T>::AdafactorBase;

  FASTOPT_INLINE void measure(T p, T g, T inverse_root,
                              double (&values)[AdafactorBase<T>::sums]) const {
    this->add(p, g, inverse_root, values);
  }

  FASTOPT_INLINE void operator()(T& p, T g, T inverse_root) const {
    p -= this->step_size * (g * inverse_root);
  }

  FASTOPT_INLINE T metric(T inverse_root) const { return this->metric_of(inverse_root); }
};

template <class T>
struct AdafactorMomentum : AdafactorBase<T> {
  static constexpr int states = 2;  // the estimate comes last
  using AdafactorBase<T>::AdafactorBase;

  FASTOPT_INLINE void measure(T p, T g, T /*m*/, T inverse_root,
                              double (&values)[AdafactorBase<T>::sums]) const {
    this->add(p, g, inverse_root, values);
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T inverse_root) const {
    m = this->beta1 * m + this->one_minus_beta1 * (this->step_size * (g * inverse_root));
    p -= m;
  }

  FASTOPT_INLINE T metric(T /*m*/, T inverse_root) const { return this->metric_of(inverse_root); }
};

}  // namespace fastopt
