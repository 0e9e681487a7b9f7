// Names that Python knows rules and options by, interned: made once, compared by what they are.
#pragma once
#include <Python.h>

#include <string>

#include "../engine/rules.hpp"

namespace fastopt {

// To be called once, before anything else here.
void intern_names();

// What the step of a rule is called: "adam_step".
const char* function_of(const Rule& rule);

// The names of what its state has besides the count: its arrays, then its numbers.
PyObject* const* part_names(const Rule& rule);

// What a message about an option shall add that a rule has not (null: that groups have not in
// common), or "": what to use in place of it. What tells it is given to `use_other_names` once.
std::string instead_of(const Rule* rule, PyObject* name);
void use_other_names(PyObject* instead_of);

// Of step_options.
PyObject* option_name(int option);

}  // namespace fastopt
