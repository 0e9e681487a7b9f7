#include "hyper_reader.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "errors.hpp"

namespace fastopt {
namespace {

bool contains(Range range, double x) {
  switch (range) {
    case Range::finite:
      return std::isfinite(x);
    case Range::non_negative:
      return std::isfinite(x) && x >= 0;
    case Range::positive:
      return std::isfinite(x) && x > 0;
    case Range::zero_to_one:
      return x >= 0 && x <= 1;
    case Range::zero_to_below_1:
      return x >= 0 && x < 1;
    case Range::above_0_to_1:
      return x > 0 && x <= 1;
  }
  return false;
}

std::string condition(Range range, const std::string& name) {
  switch (range) {
    case Range::finite:
      return name + " must be finite";
    case Range::non_negative:
      return name + " must be finite and >= 0";
    case Range::positive:
      return name + " must be finite and > 0";
    case Range::zero_to_one:
      return "0 <= " + name + " <= 1 must hold";
    case Range::zero_to_below_1:
      return "0 <= " + name + " < 1 must hold";
    case Range::above_0_to_1:
      return "0 < " + name + " <= 1 must hold";
  }
  return name;
}

bool is_bool(PyObject* object) {
  const char* type = Py_TYPE(object)->tp_name;
  return PyBool_Check(object) || !std::strcmp(type, "numpy.bool") ||
         !std::strcmp(type, "numpy.bool_");
}

// Scalars that would convert, but lose their imaginary part or their unit.
bool is_more_than_a_number(PyObject* object) {
  const char* type = Py_TYPE(object)->tp_name;
  return PyComplex_Check(object) || !std::strncmp(type, "numpy.complex", 13) ||
         !std::strcmp(type, "numpy.clongdouble") || !std::strcmp(type, "numpy.timedelta64");
}

}  // namespace

double HyperReader::number(const char* name, Range range, const char* needs) {
  PyObject* given = object();
  const double value = PyFloat_CheckExact(given) ? PyFloat_AS_DOUBLE(given) : convert(name, given);
  if (!contains(range, value))
    raise_value_error(std::string(function_) + ": " + condition(range, name) + ", it is " +
                      repr_of(given));
  if (needs && value != 0) need_ = {needs, name, value};
  return value;
}

double HyperReader::number_or(const char* name, Range range, double otherwise) {
  if (next_ < count_ && arguments_[next_] == Py_None) {
    ++next_;
    return otherwise;
  }
  return number(name, range);
}

double HyperReader::convert(const char* name, PyObject* given) const {
  const bool numeric = PyNumber_Check(given) && !PySequence_Check(given) && !is_bool(given) &&
                       !is_more_than_a_number(given);
  if (numeric) {
    const double value = PyFloat_AsDouble(given);
    if (value != -1 || !PyErr_Occurred()) return value;
    const bool too_large = PyErr_ExceptionMatches(PyExc_OverflowError);
    if (!too_large && !PyErr_ExceptionMatches(PyExc_TypeError)) throw pybind11::error_already_set();
    PyErr_Clear();
    if (too_large) return std::numeric_limits<double>::infinity();
  }
  raise_type_error(std::string(function_) + ": " + name + " must be a number, not " +
                   type_of(given));
}

bool HyperReader::flag(const char* name) {
  PyObject* given = object();
  if (given == Py_False) return false;
  if (given == Py_True) return true;
  if (!is_bool(given))
    raise_type_error(std::string(function_) + ": " + name + " must be True or False, not " +
                     repr_of(given));
  const int value = PyObject_IsTrue(given);
  if (value < 0) throw pybind11::error_already_set();
  return value == 1;
}

int HyperReader::threads(int otherwise) {
  PyObject* given = object();
  return given == Py_None ? otherwise : thread_count(function_, "threads", given);
}

PyObject* HyperReader::object() {
  if (next_ == count_) raise_type_error(std::string(function_) + ": too few arguments");
  return arguments_[next_++];
}

void HyperReader::check_all_read() const {
  if (next_ != count_) raise_type_error(std::string(function_) + ": too many arguments");
}

void HyperReader::check_not_needed(const char* name) const {
  if (!need_.array || std::strcmp(need_.array, name)) return;
  const std::string function = function_;
  const std::string init = function.substr(0, function.rfind('_')) + "_init";
  raise_value_error(function + ": " + need_.by + "=" +
                    text_of(pybind11::float_(need_.value).ptr()) + " needs state." + name +
                    ", which is None; " + init + "(params, " + need_.by + "=True) makes it");
}

int thread_count(const char* function, const char* name, PyObject* given) {
  PyObject* index = is_bool(given) ? nullptr : PyNumber_Index(given);
  if (!index) {
    PyErr_Clear();
    raise_type_error(std::string(function) + ": " + name + " must be an int, not " +
                     type_of(given));
  }
  int overflow;
  const long count = PyLong_AsLongAndOverflow(index, &overflow);
  Py_DECREF(index);
  if (overflow || count < 1 || count > max_threads)
    raise_value_error(std::string(function) + ": 1 <= " + name +
                      " <= " + std::to_string(max_threads) + " must hold, it is " + repr_of(given));
  return static_cast<int>(count);
}

}  // namespace fastopt
