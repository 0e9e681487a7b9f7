#include "declared.hpp"

#include <string>

#include "../../python/attribute.hpp"
#include "../../python/errors.hpp"
#include "../../python/numbers.hpp"
#include "../../trees/tree.hpp"

namespace fastopt {
namespace {

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
    {step_number("l1"), Kind::penalty},
    {step_number("l2"), Kind::penalty},
    {step_number("weight_decay"), Kind::penalty},
    {step_number("decay_after"), Kind::number},
    {step_number("l1_prox"), Kind::penalty},
    {step_number("nonneg"), Kind::number},
    {step_number("maximize"), Kind::number},
    {step_number("clip_value"), Kind::number_or_none},
    // Shared
    {step_number("grad_scale"), Kind::number},
    {step_number("keep_prob"), Kind::number},
    {step_number("clip_norm"), Kind::number_or_none},
    {step_number("clip_tensor_norm"), Kind::number_or_none},
    {step_number("clip_eps"), Kind::number},
    {step_number("skip_nonfinite"), Kind::skipping},
    {step_number("ema_decay"), Kind::number_or_none},
    {step_number("zero_grads"), Kind::number},
    {step_number("flush_denormals"), Kind::number},
    {step_number("threads"), Kind::threads, /*may_change*/ false},
    // Objects
    {{"mask", Range::flag}, Kind::tree, false},
    {{"drop", Range::flag}, Kind::dropout, false},
    {{"update_mask", Range::flag}, Kind::tree, false},
    {{"ema", Range::flag}, Kind::tree, false},
};

const Declared frozen_option{{"frozen", Range::flag}, Kind::number, false};
const Declared debias_option{{"ema_debias", Range::flag}, Kind::number, false};
const Declared accumulation_option{{"accumulation", Range::flag, 1}, Kind::averaging, false};

double read_option(const char* where, const Declared& declared, PyObject* given) {
  const char* name = declared.option.name;
  switch (declared.kind) {
    case Kind::number_or_none:
      if (given == Py_None) return declared.option.otherwise;
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
  return to_number(where, name, declared.option.range, given);
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
  if (const char* why = why_not_together(shared))
    raise_value_error(std::string(where) + ": " + why);
}

}  // namespace fastopt
