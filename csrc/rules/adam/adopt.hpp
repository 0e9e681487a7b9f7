// ADOPT (Taniguchi et al. 2024, algorithm 2): Adam whose gradient is divided before it is averaged,
// by the squares of the steps before.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../bounded.hpp"
#include "../option.hpp"
#include "larger.hpp"

namespace fastopt {

struct AdoptOptions {
  double lr, beta1, beta2, eps, update_clip;

  static constexpr const char* name = "adopt";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1e-3}, Option{"beta1", Range::zero_to_below_1, 0.9},
      Option{"beta2", Range::zero_to_below_1, 0.9999}, Option{"eps", Range::denominator, 1e-6},
      Option{"update_clip", Range::flag, 1}};
  static constexpr std::array arrays{StateArray{"m"}, StateArray{"v"}};
};

template <class T>
struct Adopt {
  static constexpr int states = 2;
  T lr, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, clips, bound, moves;

  Adopt(const AdoptOptions& given, double t)
      : lr(T(given.lr)),
        beta1(T(given.beta1)),
        one_minus_beta1(T(1 - given.beta1)),
        beta2(T(given.beta2)),
        one_minus_beta2(T(1 - given.beta2)),
        eps(T(given.eps)),
        clips(T(given.update_clip)),
        bound(T(std::sqrt(std::sqrt(t - 1)))),
        moves(T(t > 1)) {}  // the first step takes the squares alone

  FASTOPT_INLINE void operator()(T& p, T g, T& m, T& v) const {
    const T squared = g * g, u = clip(g / larger(std::sqrt(v), eps));
    const T mean = beta1 * m + one_minus_beta1 * u;
    const T squares = beta2 * v + one_minus_beta2 * squared;
    m = moves != 0 ? mean : m;
    v = moves != 0 ? squares : squared;
    const T moved = p - lr * m;
    p = moves != 0 ? moved : p;
  }

 private:
  FASTOPT_INLINE T clip(T u) const {
    const T clipped = bounded(u, bound);
    return clips != 0 ? clipped : u;
  }
};

}  // namespace fastopt
