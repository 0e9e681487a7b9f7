// Element types. Memory holds `Stored` values; arithmetic happens in their compute type. A load
// widens, a store rounds once; the rules and the loop never learn which type is in memory.
#pragma once
#include "platform.hpp"

namespace fastopt {

// For float32 and float64 both are the identity. A narrower type specialises this.
template <class Stored>
struct Storage {
  using Compute = Stored;
  static FASTOPT_INLINE Compute load(const Stored& x) { return x; }
  static FASTOPT_INLINE void store(Stored& to, Compute x) { to = x; }
};

template <class Stored>
using Compute = typename Storage<Stored>::Compute;

// One stored element, widened for the time that a rule works on it.
template <class Stored>
struct Widened {
  Stored& stored;
  Compute<Stored> value;

  FASTOPT_INLINE explicit Widened(Stored& from)
      : stored(from), value(Storage<Stored>::load(from)) {}
  FASTOPT_INLINE void store() const { Storage<Stored>::store(stored, value); }
};

}  // namespace fastopt
