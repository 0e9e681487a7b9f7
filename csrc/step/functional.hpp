// The functional steps: all arguments come with the call.
#pragma once
#include <vector>

#include "../engine/rules.hpp"
#include "../python/object.hpp"
#include "../trees/tree.hpp"

namespace fastopt {

// Python passes: the class of the state (None where the rule has no state), params, grads, state,
// the options of the rule in their order, and a dict of all others.
Object functional_step(const Rule& rule, PyObject* const* arguments, Py_ssize_t count);

// How running means take new values over.
struct Advance {
  PyObject *decay, *skip_nonfinite;            // borrowed
  const std::vector<unsigned char>& left_out;  // which entries stay
  int threads;
};

// Lets them do so: mean -= w*mean; mean += w*value, with w = 1 - decay, but where there is None in
// place of a value. It is a step of SGD that ascends, with its checks, its threads and its result.
Object advance_means(const char* function, const NamedTree& means, const NamedTree& values,
                     const Advance& advance);

}  // namespace fastopt
