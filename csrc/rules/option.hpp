// What a rule declares: its options with their ranges, and the arrays and numbers of its state.
#pragma once

namespace fastopt {

enum class Range {
  finite,           // any finite number
  non_negative,     // finite, >= 0
  denominator,      // the same, of what keeps a denominator from zero
  positive,         // finite, > 0
  non_positive,     // finite, <= 0
  zero_to_one,      // [0, 1]
  zero_to_below_1,  // [0, 1)
  above_0_to_1,     // (0, 1]
  flag,             // true or false, kept as 1 or 0
  count,            // an integer in [1, 99]
};

// A rule's options are a struct of doubles, `lr` first, and a list that names them in that order.
struct Option {
  const char* name;
  Range range;
  double otherwise = 0;         // what it is where it is not given
  const char* needs = nullptr;  // unless it is 0, the state must have this array
  bool in_common = false;       // of groups whose arrays have their numbers in common
};

// An array of the state, like the parameter. Those that a state may leave out come last.
struct StateArray {
  const char* name;
  bool optional = false;
};

// The mean of squares of an array with two axes or more, of which the state keeps no more than the
// means of its rows and of its columns (Shazeer & Stern 2018, algorithm 4); of other arrays, that
// of each element, as if it were a row. A rule that has it names the two as `factors`, and what it
// folds has one of these as `moment`. Its arithmetic finds the inverse of the root of the
// estimate behind the arrays of its state. One that names rows alone finds there what its `of_row`
// makes of the mean of the row, and needs no bounds.
struct FactoredMoment {
  double beta2, one_minus_beta2, added;  // to each mean
  double least_mean;                     // of rows, by which columns are divided
  double least_root;                     // of the estimate: the inverse is finite
};

// A number of the state besides its count, such as a product of momenta, and where it begins. A
// rule that has some lists them as `scalars`, and its constructor takes and advances them, or its
// `adapt` does. Where it has the option `per_array`, and that is 0, all arrays of a step have
// them in common.
struct StateScalar {
  const char* name;
  double start;
};

}  // namespace fastopt
