// LARS (You, Gitman & Ginsburg 2017, algorithm 1): momentum whose gradients are as long as a share
// of the array that they change.
#pragma once
#include <array>
#include <cmath>
#include <limits>

#include "../../platform.hpp"
#include "../option.hpp"

namespace fastopt {

struct LarsOptions {
  double lr, momentum, dampening, nesterov, lr_inside, trust_coeff, trust_decay, eps, norm_of_sum,
      always_adapt, trust_clip;

  static constexpr const char* name = "lars";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1},       Option{"momentum", Range::zero_to_one, 0.9},
      Option{"dampening", Range::zero_to_one},    Option{"nesterov", Range::flag},
      Option{"lr_inside", Range::flag},           Option{"trust_coeff", Range::non_negative, 1e-3},
      Option{"trust_decay", Range::non_negative}, Option{"eps", Range::non_negative, 1e-8},
      Option{"norm_of_sum", Range::flag},         Option{"always_adapt", Range::flag, 1},
      Option{"trust_clip", Range::flag}};
  static constexpr std::array arrays{StateArray{"buf"}};
};

template <class T>
struct Lars {
  static constexpr int states = 1, sums = 2;
  double lr, trust_coeff, decay_of_norm, added, adapts, clips, inside, share;
  T mu, decay, decay_in_norm, nesterov, first;
  T unit;              // what a direction is multiplied by, to be of about the length 1
  T undamped, damped;  // and then, as it enters the buffer
  T rate;              // what the buffer is multiplied by as it leaves

  Lars(const LarsOptions& given, double t)
      : lr(given.lr),
        trust_coeff(given.trust_coeff),
        decay_of_norm(given.norm_of_sum != 0 ? 0 : given.trust_decay),
        added(given.eps),
        adapts(given.always_adapt != 0 || given.trust_decay != 0),
        clips(given.trust_clip),
        inside(given.lr_inside),
        share(1 - given.dampening),
        mu(T(given.momentum)),
        decay(T(given.trust_decay)),
        decay_in_norm(T(given.norm_of_sum != 0 ? given.trust_decay : 0)),
        nesterov(T(given.nesterov)),
        first(T(t == 1)),
        unit(1) {
    set_length(1);
  }

  FASTOPT_INLINE void measure(T p, T g, T /*buf*/, double (&values)[sums]) const {
    const double u = g + decay_in_norm * p;
    values[0] = double(p) * p;
    values[1] = u * u;
  }

  // Without norms in range, the ratio is 1.
  void adapt(const double* squares) {
    const double of_param = std::sqrt(squares[0]), of_grad = std::sqrt(squares[1]);
    const double inverse = 1 / (of_grad + decay_of_norm * of_param + added);
    double length = trust_coeff * of_param;
    const double most = std::numeric_limits<T>::max();
    const bool in_range = of_param > 0 && of_grad > 0 && inverse > 0 && inverse <= most &&
                          length <= most && lr * length <= most;
    if (adapts == 0 || !in_range) return;
    if (clips != 0) {  // the rate of the array is at most that of all
      const double ratio = length * inverse / lr;
      length = ratio < 1 ? length / lr : 1 / inverse;
    }
    unit = T(inverse);
    set_length(length);
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& buf) const {
    const T u = unit * (g + decay * p);
    buf = first != 0 ? undamped * u : mu * buf + damped * u;
    p -= rate * (nesterov != 0 ? undamped * u + mu * buf : buf);
  }

 private:
  // As in momentum.hpp.
  void set_length(double length) {
    const double factor = inside != 0 ? -lr * length : length;
    undamped = T(factor);
    damped = T(factor * share);
    rate = T(inside != 0 ? -1 : lr);
  }
};

}  // namespace fastopt
