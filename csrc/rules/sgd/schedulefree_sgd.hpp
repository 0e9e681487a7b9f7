// Schedule-Free SGD (Defazio et al. 2024, algorithm 1): steps without a schedule of the learning
// rate. `z` goes SGD's way, and `x`, which is to be used, is the mean of all `z`; the parameters,
// where gradients are taken, are between the two (y).
#pragma once
#include <array>

#include "../../platform.hpp"
#include "../option.hpp"
#include "../schedulefree.hpp"

namespace fastopt {

struct ScheduleFreeSgdOptions {
  double lr, momentum, warmup_steps, r, weight_lr_power;

  static constexpr const char* name = "schedulefree_sgd";
  static constexpr std::array options{
      Option{"lr", Range::non_negative, 1}, Option{"momentum", Range::above_0_to_1, 0.9},
      Option{"warmup_steps", Range::non_negative}, Option{"r", Range::non_negative},
      Option{"weight_lr_power", Range::non_negative, 2}};
  static constexpr std::array arrays{StateArray{"z"}};
  static constexpr std::array scalars{StateScalar{"weight_sum", 0.0}, StateScalar{"lr_max", 0.0}};
};

template <class T>
struct ScheduleFreeSgd {
  static constexpr int states = 1;
  ScheduleFree<T> both;

  ScheduleFreeSgd(const ScheduleFreeSgdOptions& given, double t, double* scalars)
      : both(given, given.momentum, t, scalars) {}

  FASTOPT_INLINE void operator()(T& p, T g, T& z) const { both.move(p, g, z); }
};

}  // namespace fastopt
