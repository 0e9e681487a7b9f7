// The options that steps declare besides those of their rule. fastopt/docstrings.py explains them.
#pragma once
#include <Python.h>

#include "../../engine/steps/options.hpp"

namespace fastopt {

// What an option may be.
enum class Kind {
  number,          // within its range; also a flag
  number_or_none,  // None stands for the default
  penalty,         // >= 0; functions take a tree of such, too
  threads,         // a count, or None: 0
  averaging,       // "mean" or "sum", kept as 1 or 0
  skipping,        // a flag, or "raise", kept as Shared::raises
  dropout,         // a Dropout or None, kept as 1 or 0
  tree,            // arrays like params, or None, kept as 1 or 0
};

struct Declared {
  Option option;
  Kind kind;
  bool may_change = true;  // from step to step, by a schedule
};

// The options of a functional step: terms, those of Shared, and four that are objects.
enum ObjectOption { mask, drop, update_mask, ema, object_count };
constexpr int step_option_count = number_count + object_count, first_object = number_count;

// In the order of Terms, Shared and ObjectOption.
extern const Declared step_options[step_option_count];

// What an optimizer has besides.
extern const Declared frozen_option, debias_option, accumulation_option;

// Reads one option; messages name it after `where`.
double read_option(const char* where, const Declared& declared, PyObject* given);

// Whether an object is a Dropout, or of a class derived from it.
bool is_dropout(PyObject* given);

// Throws unless an object is a Dropout that keeps its offset as that class does: others could run
// code of their own in the middle of a step.
void check_dropout_class(const char* where, PyObject* given);

// The class, once it is there.
void use_dropout_class(PyObject* dropout);

// Throws where options exclude each other.
void check_clipping(const char* where, const Shared& shared);

}  // namespace fastopt
