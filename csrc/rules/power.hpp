// Powers of decay rates, for bias corrections.
#pragma once
#include <cmath>

namespace fastopt {

// base^t. The groups of a step mostly share both, and a power takes as long as a dozen elements: so
// the latest two are kept, one for each rate of a rule.
inline double power(double base, double t) {
  struct Known {
    double base, t, result;
  };
  thread_local Known known[2] = {{0, 1, 0}, {0, 1, 0}};
  for (const Known& one : known)
    if (one.base == base && one.t == t) return one.result;
  known[0] = known[1];
  known[1] = {base, t, std::pow(base, t)};
  return known[1].result;
}

}  // namespace fastopt
