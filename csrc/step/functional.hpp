// The functional steps: all arguments come with the call.
#pragma once
#include "../engine/rules.hpp"
#include "../python/object.hpp"

namespace fastopt {

// Python passes: the class of the state (None where the rule has no state), params, grads, state,
// the options of the rule in their order, and a dict of all others.
Object functional_step(const Rule& rule, PyObject* const* arguments, Py_ssize_t count);

}  // namespace fastopt
