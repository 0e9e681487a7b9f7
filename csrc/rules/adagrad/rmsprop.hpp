// RMSprop (Tieleman & Hinton 2012, lecture 6.5), centered as in Graves 2013, eq. 38-45. Which of
// `avg` and `buf` exist decides the streams through memory, hence they are template parameters.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../option.hpp"

namespace fastopt {

struct RmspropOptions {
  double lr, rho, eps, eps_inside_sqrt, momentum, scaled_prox;

  static constexpr const char* name = "rmsprop";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1e-2},
                                      Option{"rho", Range::zero_to_below_1, 0.99},
                                      Option{"eps", Range::denominator, 1e-8},
                                      Option{"eps_inside_sqrt", Range::flag},
                                      Option{"momentum", Range::zero_to_one, 0, /*needs*/ "buf"},
                                      Option{"scaled_prox", Range::flag}};
  static constexpr std::array arrays{StateArray{"v"}, StateArray{"avg", /*optional*/ true},
                                     StateArray{"buf", /*optional*/ true}};
};

template <class T>
struct RmspropBase {
  double metric_lr;
  T lr, rho, one_minus_rho, mu, eps_inside, eps_outside;

  RmspropBase(const RmspropOptions& given, double /*t*/)
      : metric_lr(given.lr),
        lr(T(given.lr)),
        rho(T(given.rho)),
        one_minus_rho(T(1 - given.rho)),
        mu(T(given.momentum)),
        eps_inside(T(given.eps_inside_sqrt != 0 ? given.eps : 0)),
        eps_outside(T(given.eps_inside_sqrt != 0 ? 0 : given.eps)) {}

  FASTOPT_INLINE void average_square(T g, T& v) const { v = rho * v + one_minus_rho * (g * g); }

  FASTOPT_INLINE T root(T mean_square) const {
    return std::sqrt(mean_square + eps_inside) + eps_outside;
  }

  FASTOPT_INLINE void average(T g, T& avg) const { avg = rho * avg + one_minus_rho * g; }

  // Rounding can push v - avg^2 below zero; NaN must stay NaN.
  FASTOPT_INLINE T centered_root(T v, T avg) const {
    const T variance = v - avg * avg;
    return root(variance < 0 ? T(0) : variance);
  }

  FASTOPT_INLINE void move(T& p, T direction) const { p -= lr * direction; }

  FASTOPT_INLINE void move(T& p, T direction, T& buf) const {
    buf = mu * buf + direction;
    p -= lr * buf;
  }
};

template <class T>
struct Rmsprop : RmspropBase<T> {
  static constexpr int states = 1;
  using RmspropBase<T>::RmspropBase;

  FASTOPT_INLINE void operator()(T& p, T g, T& v) const {
    this->average_square(g, v);
    this->move(p, g / metric(v));
  }

  FASTOPT_INLINE T metric(T v) const { return this->root(v); }
};

template <class T>
struct RmspropMomentum : RmspropBase<T> {
  static constexpr int states = 2;
  using RmspropBase<T>::RmspropBase;

  FASTOPT_INLINE void operator()(T& p, T g, T& v, T& buf) const {
    this->average_square(g, v);
    this->move(p, g / metric(v, buf), buf);
  }

  FASTOPT_INLINE T metric(T v, T /*buf*/) const { return this->root(v); }
};

template <class T>
struct RmspropCentered : RmspropBase<T> {
  static constexpr int states = 2;
  using RmspropBase<T>::RmspropBase;

  FASTOPT_INLINE void operator()(T& p, T g, T& v, T& avg) const {
    this->average_square(g, v);
    this->average(g, avg);
    this->move(p, g / metric(v, avg));
  }

  FASTOPT_INLINE T metric(T v, T avg) const { return this->centered_root(v, avg); }
};

template <class T>
struct RmspropCenteredMomentum : RmspropBase<T> {
  static constexpr int states = 3;
  using RmspropBase<T>::RmspropBase;

  FASTOPT_INLINE void operator()(T& p, T g, T& v, T& avg, T& buf) const {
    this->average_square(g, v);
    this->average(g, avg);
    this->move(p, g / metric(v, avg, buf), buf);
  }

  FASTOPT_INLINE T metric(T v, T avg, T /*buf*/) const { return this->centered_root(v, avg); }
};

}  // namespace fastopt
