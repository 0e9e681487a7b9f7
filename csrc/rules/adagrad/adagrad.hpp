// Adagrad (Duchi, Hazan & Singer 2011, eq. 1 with the diagonal of G).
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"

namespace fastopt {

struct AdagradOptions {
  double lr, lr_decay, eps, eps_inside_sqrt, scaled_prox;

  static constexpr const char* name = "adagrad";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1e-2}, Option{"lr_decay", Range::non_negative},
      Option{"eps", Range::denominator, 1e-10}, Option{"eps_inside_sqrt", Range::flag},
      Option{"scaled_prox", Range::flag}};
  static constexpr std::array arrays{StateArray{"s"}};
};

template <class T>
struct Adagrad {
  static constexpr int states = 1;
  double metric_lr;
  T lr, eps_inside, eps_outside;

  Adagrad(const AdagradOptions& given, double t)
      : metric_lr(given.lr / (1 + (t - 1) * given.lr_decay)),
        lr(T(metric_lr)),
        eps_inside(T(given.eps_inside_sqrt != 0 ? given.eps : 0)),
        eps_outside(T(given.eps_inside_sqrt != 0 ? 0 : given.eps)) {}

  FASTOPT_INLINE void operator()(T& p, T g, T& s) const {
    s += g * g;
    p -= lr * (g / metric(s));
  }

  FASTOPT_INLINE T metric(T s) const { return std::sqrt(s + eps_inside) + eps_outside; }
};

}  // namespace fastopt
