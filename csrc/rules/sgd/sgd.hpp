// Stochastic gradient descent (Robbins & Monro 1951).
#pragma once
#include <array>

#include "../../platform.hpp"
#include "../option.hpp"

namespace fastopt {

struct SgdOptions {
  double lr;

  static constexpr const char* name = "sgd";
  static constexpr std::array options{Option{"lr", Range::non_negative, 1e-2}};
  static constexpr std::array<StateArray, 0> arrays{};
};

template <class T>
struct Sgd {
  static constexpr int states = 0;
  T lr;

  Sgd(const SgdOptions& given, double /*t*/) : lr(T(given.lr)) {}

  FASTOPT_INLINE void operator()(T& p, T g) const { p -= lr * g; }
};

}  // namespace fastopt
