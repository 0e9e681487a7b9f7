// Stochastic gradient descent (Robbins & Monro 1951).
#pragma once
#include "../platform.hpp"
#include "../rule_options.hpp"

namespace fastopt {

struct SgdOptions {
  static constexpr const char* function = "sgd_step";
  static constexpr StateArrays<0, 0> arrays{};

  double lr;

  template <class Reader>
  explicit SgdOptions(Reader& read) : lr(read.number("lr", Range::non_negative)) {}
};

template <class T>
struct Sgd {
  static constexpr int states = 0;
  T lr;

  Sgd(const SgdOptions& given, double /*t*/) : lr(T(given.lr)) {}

  FASTOPT_INLINE void operator()(T& p, T g) const { p -= lr * g; }
};

}  // namespace fastopt
