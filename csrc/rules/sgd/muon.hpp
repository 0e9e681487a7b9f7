// Muon (Jordan et al. 2024): momentum, whose matrices are made orthogonal, each as a whole, before
// they are subtracted. What is no matrix is updated as by AdamW (Loshchilov & Hutter 2019), by the
// state that has a second moment.
#pragma once
#include <array>

#include "../../platform.hpp"
#include "../adam/adam.hpp"
#include "../option.hpp"

namespace fastopt {

struct MuonOptions {
  double lr, momentum, nesterov, ns_steps, ns_a, ns_b, ns_c, eps, eps_outside_max, match_rms_adamw,
      flatten, beta1, beta2;

  static constexpr const char* name = "muon";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1e-3},
                                      Option{"momentum", Range::zero_to_below_1, 0.95},
                                      Option{"nesterov", Range::flag, 1},
                                      Option{"ns_steps", Range::count, 5},
                                      Option{"ns_a", Range::finite, 3.4445},
                                      Option{"ns_b", Range::finite, -4.775},
                                      Option{"ns_c", Range::finite, 2.0315},
                                      Option{"eps", Range::denominator, 1e-7},
                                      Option{"eps_outside_max", Range::flag},
                                      Option{"match_rms_adamw", Range::flag},
                                      Option{"flatten", Range::flag},
                                      Option{"beta1", Range::zero_to_below_1, 0.9},
                                      Option{"beta2", Range::zero_to_below_1, 0.999}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"v", /*optional*/ true}};
  static constexpr bool matrices = true;
};

template <class T>
struct Muon {
  static constexpr int states = 2;  // what the direction has become comes last
  T lr, momentum, one_minus_momentum, of_m, of_g;

  Muon(const MuonOptions& given, double /*t*/)
      : lr(T(given.lr)),
        momentum(T(given.momentum)),
        one_minus_momentum(T(1 - given.momentum)),
        of_m(T(given.nesterov != 0 ? given.momentum : 1)),
        of_g(T(given.nesterov != 0 ? 1 - given.momentum : 0)) {}

  FASTOPT_INLINE T average(T g, T m) const { return momentum * m + one_minus_momentum * g; }

  FASTOPT_INLINE void direct(T g, T m, T& x) const {
    const T next = average(g, m);
    x = of_g == 0 ? next : of_m * next + of_g * g;
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T x) const {
    m = average(g, m);
    p -= lr * x;
  }
};

template <class T>
struct MuonOther : Adam<T> {
  MuonOther(const MuonOptions& given, double t)
      : Adam<T>({given.lr, given.beta1, given.beta2, given.eps, 0, 0, /*bias_correction=*/1}, t) {}
};

}  // namespace fastopt
