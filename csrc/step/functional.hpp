// The functional steps: all arguments come with the call.
#pragma once
#include "../engine/rules.hpp"
#include "../python/object.hpp"

namespace fastopt {

// Python passes: the class of the state (None where the rule has no state), params, grads, state,
// the options of the rule in their order, and a dict of all others.
Object functional_step(const Rule& rule, PyObject* const* arguments, Py_ssize_t count);

// What the step of a rule is called: "adam_step".
const char* function_of(const Rule& rule);

// Learns the names of options, interned. To be called once, before anything else here.
void intern_names();

// The interned names of the arrays of a state.
PyObject* const* state_names(const Rule& rule);

}  // namespace fastopt
