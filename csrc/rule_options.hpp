// What a rule says about its options: the range of each number, and the arrays of its state.
#pragma once

namespace fastopt {

enum class Range {
  finite,           // any finite number
  non_negative,     // finite, >= 0
  positive,         // finite, > 0
  zero_to_one,      // [0, 1]
  zero_to_below_1,  // [0, 1)
  above_0_to_1,     // (0, 1]
};

// The arrays of a state in the order in which the rule takes them: those that are always there,
// then those that a state may leave out. (One slot more than names, because C++ has no empty
// arrays.)
template <int Required, int Optional>
struct StateArrays {
  static constexpr int required = Required, optional = Optional, count = Required + Optional;
  const char* names[count + 1];
};

}  // namespace fastopt
