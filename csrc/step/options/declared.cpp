#include "declared.hpp"

#include <string>

#include "../../python/attribute.hpp"
#include "../../python/errors.hpp"
#include "../../python/numbers.hpp"
#include "../../trees/tree.hpp"

namespace fastopt {
namespace {

constexpr double never = Terms::never;

PyObject* dropout_class = nullptr;

double to_averaging(const char* where, const char* name, PyObject* given) {
  const bool is_text = PyUnicode_Check(given);
  if (is_text && PyUnicode_CompareWithASCIIString(given, "mean") == 0) return 1;
  if (is_text && PyUnicode_CompareWithASCIIString(given, "sum") == 0) return 0;
  raise_value_error(std::string(where) + ": " + name + " must be 'mean' or 'sum', it is " +
                    repr_of(given));
}

}  // namespace

const Declared step_options[step_option_count] = {
    // Terms
    {{"l1", Range::non_negative}, Kind::penalty, 0},
    {{"l2", Range::non_negative}, Kind::penalty, 0},
    {{"weight_decay", Range::non_negative}, Kind::penalty, 0},
    {{"decay_after", Range::flag}, Kind::number, 0},
    {{"l1_prox", Range::non_negative}, Kind::penalty, 0},
    {{"nonneg", Range::flag}, Kind::number, 0},
    {{"maximize", Range::flag}, Kind::number, 0},
    {{"clip_value", Range::positive}, Kind::number_or_none, never},
    // Shared
    {{"grad_scale", Range::finite}, Kind::number, 1},
    {{"keep_prob", Range::above_0_to_1}, Kind::number, 1},
    {{"clip_norm", Range::positive}, Kind::number_or_none, never},
    {{"clip_tensor_norm", Range::positive}, Kind::number_or_none, never},
    {{"clip_eps", Range::non_negative}, Kind::number, 1e-6},
    {{"skip_nonfinite", Range::flag}, Kind::skipping, 0},
    {{"ema_decay", Range::zero_to_one}, Kind::number_or_none, Shared::not_given},
    {{"zero_grads", Range::flag}, Kind::number, 0},
    {{"flush_denormals", Range::flag}, Kind::number, 0},
    {{"threads", Range::positive}, Kind::threads, 0, /*may_change*/ false},
    // Objects
    {{"mask", Range::flag}, Kind::tree, 0, false},
    {{"drop", Range::flag}, Kind::dropout, 0, false},
    {{"update_mask", Range::flag}, Kind::tree, 0, false},
    {{"ema", Range::flag}, Kind::tree, 0, false},
};

const Declared frozen_option{{"frozen", Range::flag}, Kind::number, 0, false};
const Declared debias_option{{"ema_debias", Range::flag}, Kind::number, 0, false};
const Declared accumulation_option{{"accumulation", Range::flag}, Kind::averaging, 1, false};

double read_option(const char* where, const Declared& declared, PyObject* given) {
  const auto& [name, range, needs] = declared.option;
  switch (declared.kind) {
    case Kind::number_or_none:
      if (given == Py_None) return declared.otherwise;
      break;
    case Kind::penalty:
      if (is_container(given))
        raise_type_error(std::string(where) + ": " + name + " must be a number, not " +
                         type_of(given) + "; groups have numbers of their own");
      break;
    case Kind::threads:
      return given == Py_None ? 0 : thread_count(where, name, given);
    case Kind::averaging:
      return to_averaging(where, name, given);
    case Kind::skipping:
      if (!PyUnicode_Check(given)) break;
      if (PyUnicode_CompareWithASCIIString(given, "raise") == 0) return Shared::raises;
      raise_value_error(std::string(where) + ": " + name +
                        " must be True, False or 'raise', it is " + repr_of(given));
    case Kind::dropout:
      if (given != Py_None) check_dropout_class(where, given);
      return given != Py_None;
    case Kind::tree:
      return given != Py_None;
    case Kind::number:
      break;
  }
  return to_number(where, name, range, given);
}

bool is_dropout(PyObject* given) { return is_instance(given, dropout_class); }

void check_dropout_class(const char* where, PyObject* given) {
  if (!is_dropout(given))
    raise_type_error(std::string(where) + ": drop must be a Dropout, not " + type_of(given));
  static PyObject* offset = PyUnicode_InternFromString("offset");
  if (!is_set_plainly(Py_TYPE(given), offset))
    raise_type_error(std::string(where) + ": drop.offset must be a plain attribute, not one of " +
                     type_of(given) + "'s own");
}

void use_dropout_class(PyObject* dropout) { dropout_class = Py_NewRef(dropout); }

void check_clipping(const char* where, const Shared& shared) {
  if (shared.clips() && shared.clips_tensors())
    raise_value_error(std::string(where) + ": clip_norm and clip_tensor_norm exclude each other");
}

}  // namespace fastopt
