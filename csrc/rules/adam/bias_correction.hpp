// 1 - beta^t, by which moving averages that start at zero are divided.
#pragma once
#include <cmath>

#include "../../platform.hpp"

namespace fastopt {

// The latest two of a thread, one for each rate of a rule. The groups of a step mostly share both,
// and a power takes as long as a dozen elements.
class BiasCorrections {
 public:
  // Those of this thread. A rule asks as rarely as it can, since this takes as long as looking
  // through them.
  static FASTOPT_NOINLINE BiasCorrections& of_thread() {
    thread_local BiasCorrections latest;
    return latest;
  }

  double operator()(double beta, double t) {
    for (Known& one : known_) {
      if (one.beta != beta) continue;
      // What has been rounded to 1 is 1 in all later steps: with 0.9, from step 356 on.
      const bool holds = one.t == t || (one.result == 1 && one.t < t);
      if (!holds) one = {beta, t, 1 - std::pow(beta, t)};
      return one.result;
    }
    known_[0] = known_[1];
    known_[1] = {beta, t, 1 - std::pow(beta, t)};
    return known_[1].result;
  }

 private:
  struct Known {
    double beta = 0, t = 1, result = 1;
  };
  Known known_[2];
};

}  // namespace fastopt
