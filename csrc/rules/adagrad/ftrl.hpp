// FTRL-Proximal (McMahan et al. 2013, algorithm 1): each step finds anew where the parameter is
// best, by all gradients so far. Its lambda1 makes exact zeros.
#pragma once
#include <array>
#include <cmath>

#include "../../platform.hpp"
#include "../bounded.hpp"
#include "../option.hpp"

namespace fastopt {

struct FtrlOptions {
  double lr, lambda1, lambda2, beta, l2_shrinkage;

  static constexpr const char* name = "ftrl";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1e-3}, Option{"lambda1", Range::non_negative},
      Option{"lambda2", Range::non_negative}, Option{"beta", Range::non_negative},
      Option{"l2_shrinkage", Range::non_negative}};
  static constexpr std::array arrays{StateArray{"n"}, StateArray{"z"}};
};

template <class T>
struct Ftrl {
  static constexpr int states = 2;
  T lr, per_lr, lambda1, lambda2, beta, l2_shrinkage;

  Ftrl(const FtrlOptions& given, double /*t*/)
      : lr(T(given.lr)),
        per_lr(T(given.lr != 0 ? 1 / given.lr : 0)),
        lambda1(T(given.lambda1)),
        lambda2(T(given.lambda2)),
        beta(T(given.beta)),
        l2_shrinkage(T(given.l2_shrinkage)) {}

  FASTOPT_INLINE void operator()(T& p, T g, T& n, T& z) const {
    const T squares = n + g * g, root = std::sqrt(squares);
    const T sigma = (root - std::sqrt(n)) * per_lr;
    const T linear = z + (g + (l2_shrinkage - sigma) * p);
    const T curvature = (beta + root) * per_lr + lambda2;
    const T best = (bounded(linear, lambda1) - linear) / curvature;
    const T moved = curvature != 0 ? best : p;  // it is 0 where no gradient has come yet
    p = lr != 0 ? moved : p;
    n = lr != 0 ? squares : n;
    z = lr != 0 ? linear : z;
  }
};

}  // namespace fastopt
