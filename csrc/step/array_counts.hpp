// How many updates each array of a group has seen, where they differ: what `state.step` is then. To
// Python it looks like a tuple of ints; it keeps runs of equal counts, so that a step does not have
// to make, fill and give back a place for each array.
#pragma once
#include <vector>

#include "../python/object.hpp"

namespace fastopt {

struct CountRun {
  long long count;
  int end;  // the run goes up to this array, from where the run before it ends
};

bool is_array_counts(PyObject* object);

// The runs of an object that is_array_counts, and behind them.
const CountRun* begin_of_runs(PyObject* counts);
const CountRun* end_of_runs(PyObject* counts);

Object new_array_counts(const std::vector<CountRun>& runs);

// One int for each array.
Object as_tuple(const CountRun* begin, const CountRun* end);

// Makes the class, once.
Object array_counts_class();

}  // namespace fastopt
