// The options that steps declare besides those of their rule. fastopt/docstrings.py explains them.
#pragma once
#include <Python.h>

#include <cstddef>
#include <cstring>

#include "../../engine/update.hpp"

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
  double otherwise;        // what it is where it is not given
  bool may_change = true;  // from step to step, by a schedule
};

// The options that all groups of a step have in common, in the order of step_options from
// first_shared on.
struct Shared {
  double grad_scale, keep_prob;
  double clip_norm, clip_tensor_norm, clip_eps;
  double skip_nonfinite, ema_decay, zero_grads, flush_denormals, threads;

  static constexpr double not_given = -1, raises = 2;

  bool clips() const { return clip_norm != Terms::never; }
  bool clips_tensors() const { return clip_tensor_norm != Terms::never; }
  bool skips() const { return skip_nonfinite != 0; }
  bool need_norms() const { return clips() || clips_tensors() || skips(); }
};

constexpr int shared_skip_nonfinite = offsetof(Shared, skip_nonfinite) / sizeof(double);
constexpr int term_count = sizeof(Terms) / sizeof(double);
constexpr int shared_count = sizeof(Shared) / sizeof(double);

// Sets some of the numbers that a struct of doubles consists of.
template <class Numbers>
void set_numbers(Numbers& to, int first, const double* from, int count) {
  std::memcpy(reinterpret_cast<char*>(&to) + first * sizeof(double), from, count * sizeof(double));
}

// The options of a functional step: terms, those of Shared, and four that are objects.
enum ObjectOption { mask, drop, update_mask, ema, object_count };
constexpr int step_option_count = term_count + shared_count + object_count;
constexpr int first_shared = term_count, first_object = term_count + shared_count;

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
