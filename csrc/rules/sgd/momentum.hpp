// Momentum (Polyak 1964) and Nesterov's form of it as in Sutskever et al. 2013. The learning rate
// is outside of the buffer, p -= lr * buf, torch's convention; or inside, which is Keras'.
#pragma once
#include <array>

#include "../../platform.hpp"
#include "../option.hpp"

namespace fastopt {

struct MomentumOptions {
  double lr, momentum, dampening, nesterov, lr_inside;

  static constexpr const char* name = "momentum";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1e-2}, Option{"momentum", Range::zero_to_one, 0.9},
      Option{"dampening", Range::zero_to_one}, Option{"nesterov", Range::flag},
      Option{"lr_inside", Range::flag}};
  static constexpr std::array arrays{StateArray{"buf"}};
};

template <class T>
struct Momentum {
  static constexpr int states = 1;
  T mu;
  T undamped, damped;  // what a gradient is multiplied by as it enters the buffer
  T rate;              // what the buffer is multiplied by as it leaves
  T nesterov, first;   // 0 or 1; gcc does not vectorise a loop that selects by a bool

  Momentum(const MomentumOptions& given, double t)
      : mu(T(given.momentum)), nesterov(T(given.nesterov)), first(T(t == 1)) {
    // Inside, the buffer is a velocity, which is added. To multiply by 1 or -1 rounds nothing.
    const double factor = given.lr_inside != 0 ? -given.lr : 1;
    undamped = T(factor);
    damped = T(factor * (1 - given.dampening));
    rate = T(given.lr_inside != 0 ? -1 : given.lr);
  }

  FASTOPT_INLINE void operator()(T& p, T g, T& buf) const {
    // The first gradient enters undamped, or an average would start near zero.
    buf = first != 0 ? undamped * g : mu * buf + damped * g;
    p -= rate * (nesterov != 0 ? undamped * g + mu * buf : buf);
  }
};

}  // namespace fastopt
