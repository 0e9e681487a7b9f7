// Rprop (Riedmiller & Braun 1993), in the form that forgets a gradient whose sign has changed
// (iRprop- of Igel & Husken 2000): each element has a step of its own, whose length goes by signs
// alone.
#pragma once
#include <array>
#include <limits>

#include "../../platform.hpp"
#include "../option.hpp"
#include "../sign.hpp"

namespace fastopt {

struct RpropOptions {
  double lr, eta_minus, eta_plus, min_step_size, max_step_size;

  static constexpr const char* name = "rprop";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1e-2}, Option{"eta_minus", Range::above_0_to_1, 0.5},
      Option{"eta_plus", Range::positive, 1.2}, Option{"min_step_size", Range::non_negative, 1e-6},
      Option{"max_step_size", Range::positive, 50}};
  static constexpr std::array arrays{StateArray{"g_prev"}, StateArray{"size"}};
};

template <class T>
struct Rprop {
  static constexpr int states = 2;
  // So scaled, not even the smallest gradients have a product of zero; large ones become infinite,
  // and keep their sign.
  static constexpr T large = 1 / std::numeric_limits<T>::min();

  T lr, eta_minus, eta_plus, least, most;
  T first;  // 0 or 1: then steps are as long as the learning rate, and no gradient is before

  Rprop(const RpropOptions& given, double t)
      : lr(T(given.lr)),
        eta_minus(T(given.eta_minus)),
        eta_plus(T(given.eta_plus)),
        least(T(given.min_step_size)),
        most(T(given.max_step_size)),
        first(T(t == 1)) {}

  FASTOPT_INLINE void operator()(T& p, T g, T& g_prev, T& size) const {
    const T before = g_prev * (first != 0 ? T(0) : large);
    const T agreement = (g * large) * before;  // only its sign counts; NaN has none
    const T rises = agreement > 0 ? eta_plus : T(1);
    const T eta = agreement < 0 ? eta_minus : rises;
    const T scaled = eta * (first != 0 ? lr : size);
    const T at_least = scaled < least ? least : scaled;
    size = at_least > most ? most : at_least;
    const T direction = sign(g);
    p -= size * (agreement < 0 ? T(0) : direction);
    g_prev = agreement < 0 ? T(0) : g;
  }
};

}  // namespace fastopt
