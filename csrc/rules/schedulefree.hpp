// What both rules of Defazio et al. 2024 have in common, whatever their direction is.
#pragma once
#include <cmath>

#include "../platform.hpp"

namespace fastopt {

template <class T>
struct ScheduleFree {
  T c;      // the weight of the new z in the mean
  T of_y;   // what a direction is multiplied by, to move the parameters
  T of_z;   // and to move z
  T first;  // 0 or 1: then z is where the parameters are

  // The two numbers are the sum of all weights and the largest rate so far.
  template <class Options>
  ScheduleFree(const Options& given, double beta, double t, double* scalars) : first(T(t == 1)) {
    const double warmth = t < given.warmup_steps ? t / given.warmup_steps : 1;
    const double rate = given.lr * warmth;
    if (rate > scalars[1]) scalars[1] = rate;
    const double weight = std::pow(t, given.r) * std::pow(scalars[1], given.weight_lr_power);
    scalars[0] += weight;
    const double share = scalars[0] > 0 ? weight / scalars[0] : 0;
    c = T(share);
    of_y = T(rate * (beta * (1 - share) - 1));
    of_z = T(-rate);
  }

  FASTOPT_INLINE void move(T& p, T u, T& z) const {
    const T before = first != 0 ? p : z;
    p = p + c * (before - p) + of_y * u;
    z = before + of_z * u;
  }
};

}  // namespace fastopt
