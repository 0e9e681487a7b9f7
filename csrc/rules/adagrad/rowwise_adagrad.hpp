// Row-wise Adagrad (Naumov et al. 2019, "Deep learning recommendation model"; FBGEMM's exact form):
// Adagrad with one number for each row, as tables of embeddings have.
#pragma once
#include <array>
#include <cmath>
#include <limits>

#include "../../platform.hpp"
#include "../option.hpp"

namespace fastopt {

struct RowwiseAdagradOptions {
  double lr, lr_decay, eps, scaled_prox;

  static constexpr const char* name = "rowwise_adagrad";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1e-2}, Option{"lr_decay", Range::non_negative},
      Option{"eps", Range::denominator, 1e-10}, Option{"scaled_prox", Range::flag}};
  static constexpr std::array factors{"s_row"};
  static constexpr std::array<StateArray, 0> arrays{};
};

template <class T>
struct RowwiseAdagrad {
  static constexpr int states = 1;  // the metric of the row
  double metric_lr;
  FactoredMoment moment{1, 1, 0, 0, 0};  // a sum
  T lr, eps;

  RowwiseAdagrad(const RowwiseAdagradOptions& given, double t)
      : metric_lr(given.lr / (1 + (t - 1) * given.lr_decay)), lr(T(metric_lr)), eps(T(given.eps)) {}

  // A row that never had a gradient keeps still, however small eps and rate are.
  FASTOPT_INLINE T of_row(T s) const {
    constexpr T least = std::numeric_limits<T>::min();
    const T metric = std::sqrt(s) + eps;
    return metric < least ? least : metric;
  }

  FASTOPT_INLINE void operator()(T& p, T g, T metric) const {
    constexpr T most = std::numeric_limits<T>::max();
    const T rate = lr / metric;
    p -= (rate > most ? most : rate) * g;
  }

  FASTOPT_INLINE T metric(T of_row) const { return of_row; }
};

}  // namespace fastopt
