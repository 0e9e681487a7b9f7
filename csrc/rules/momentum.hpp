// Momentum (Polyak 1964) and Nesterov's form of it as in Sutskever et al. 2013, with the learning
// rate outside of the buffer: p -= lr * buf, torch's convention.
#pragma once
#include <array>

#include "../platform.hpp"
#include "option.hpp"

namespace fastopt {

struct MomentumOptions {
  double lr, momentum, dampening, nesterov;

  static constexpr const char* name = "momentum";
  static constexpr std::array options{
      Option{"lr", Range::non_negative}, Option{"momentum", Range::zero_to_one},
      Option{"dampening", Range::zero_to_one}, Option{"nesterov", Range::flag}};
  static constexpr std::array arrays{StateArray{"buf"}};
};

template <class T>
struct Momentum {
  static constexpr int states = 1;
  T lr, mu, one_minus_dampening;
  T nesterov, first;  // 0 or 1; gcc does not vectorise a loop that selects by a bool

  Momentum(const MomentumOptions& given, double t)
      : lr(T(given.lr)),
        mu(T(given.momentum)),
        one_minus_dampening(T(1 - given.dampening)),
        nesterov(T(given.nesterov)),
        first(T(t == 1)) {}

  FASTOPT_INLINE void operator()(T& p, T g, T& buf) const {
    // The first gradient enters undamped, or an average would start near zero.
    buf = first != 0 ? g : mu * buf + one_minus_dampening * g;
    p -= lr * (nesterov != 0 ? g + mu * buf : buf);
  }
};

}  // namespace fastopt
