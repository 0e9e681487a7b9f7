// Names that Python knows rules and options by, interned: made once, compared by what they are.
#pragma once
#include <Python.h>

#include "../engine/rules.hpp"

namespace fastopt {

// To be called once, before anything else here.
void intern_names();

// What the step of a rule is called: "adam_step".
const char* function_of(const Rule& rule);

// The names of the arrays and of the numbers of its state.
PyObject* const* array_names(const Rule& rule);
PyObject* const* scalar_names(const Rule& rule);

// Of step_options.
PyObject* option_name(int option);

}  // namespace fastopt
