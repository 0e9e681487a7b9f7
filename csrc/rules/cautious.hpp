// Cautious optimizers (Liang et al. 2024, "Cautious optimizers: improving training with one line of
// code"): where the update of a rule agrees in sign with the gradient an element is changed, by so
// much more as fewer agree.
#pragma once
#include <algorithm>
#include <cmath>

#include "../platform.hpp"
#include "adam/adam.hpp"
#include "adam/nadam.hpp"
#include "sgd/lion.hpp"

namespace fastopt {

// Of a rule whose `update` changes the state, and returns what is subtracted from the parameter.
template <class Rule, class T>
struct Cautious : Rule {
  static constexpr int sums = 1;
  static constexpr bool only_counts = true;
  T scale{1};

  using Rule::Rule;

  FASTOPT_INLINE void measure(T /*p*/, T g, T m, T (&values)[sums]) const {
    values[0] = agrees(this->update(g, m), g);
  }

  FASTOPT_INLINE void measure(T /*p*/, T g, T m, T v, T (&values)[sums]) const {
    values[0] = agrees(this->update(g, m, v), g);
  }

  // Behind the sum is the number of elements. Where there are none, 0/0 is NaN, of which `max`
  // takes the bound.
  void adapt(const double* agreeing) { scale = T(1 / std::max(1e-3, agreeing[0] / agreeing[1])); }

  template <class... State>
  FASTOPT_INLINE void operator()(T& p, T g, State&... state) const {
    const T u = this->update(g, state...);
    const bool stays = along(u, g) <= 0 && u == u;  // NaN does not stay hidden
    p -= stays ? T(0) : scale * u;
  }

  template <class... State>
  FASTOPT_INLINE T metric(State... state) const {
    return Rule::metric(state...) / scale;
  }

 private:
  // The gradient in the direction of the update. The product of the two has this sign, but may be
  // too small.
  static FASTOPT_INLINE T along(T u, T g) { return g * std::copysign(T(1), u); }

  // 1, or 0, also of a NaN and of an update of zero, which has a sign, too.
  static FASTOPT_INLINE T agrees(T u, T g) {
    return std::fabs(u) > 0 && along(u, g) > 0 ? T(1) : T(0);
  }
};

struct CautiousAdamOptions : AdamOptions {
  static constexpr const char* name = "cautious_adam";
};
template <class T>
using CautiousAdam = Cautious<Adam<T>, T>;

struct CautiousLionOptions : LionOptions {
  static constexpr const char* name = "cautious_lion";
};
template <class T>
using CautiousLion = Cautious<Lion<T>, T>;

struct CautiousNadamOptions : NadamOptions {
  static constexpr const char* name = "cautious_nadam";
};
template <class T>
using CautiousNadam = Cautious<Nadam<T>, T>;

}  // namespace fastopt
