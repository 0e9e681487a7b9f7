#include "numbers.hpp"

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
    case Range::denominator:
      return std::isfinite(x) && x >= 0;
    case Range::positive:
      return std::isfinite(x) && x > 0;
    case Range::zero_to_one:
      return x >= 0 && x <= 1;
    case Range::zero_to_below_1:
      return x >= 0 && x < 1;
    case Range::above_0_to_1:
      return x > 0 && x <= 1;
    case Range::flag:
      break;  // is no number
  }
  return false;
}

std::string condition(Range range, const std::string& name) {
  switch (range) {
    case Range::finite:
      return name + " must be finite";
    case Range::non_negative:
    case Range::denominator:
      return name + " must be finite and >= 0";
    case Range::positive:
      return name + " must be finite and > 0";
    case Range::zero_to_one:
      return "0 <= " + name + " <= 1 must hold";
    case Range::zero_to_below_1:
      return "0 <= " + name + " < 1 must hold";
    case Range::above_0_to_1:
      return "0 < " + name + " <= 1 must hold";
    case Range::flag:
      break;
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

// A number, or infinity where an int is too large for one.
double converted(const char* function, const char* name, PyObject* given) {
  const bool numeric = PyNumber_Check(given) && !PySequence_Check(given) && !is_bool(given) &&
                       !is_more_than_a_number(given);
  if (numeric) {
    const double value = PyFloat_AsDouble(given);
    if (value != -1 || !PyErr_Occurred()) return value;
    const bool too_large = PyErr_ExceptionMatches(PyExc_OverflowError);
    if (!too_large && !PyErr_ExceptionMatches(PyExc_TypeError)) throw PythonError{};
    PyErr_Clear();
    if (too_large) return std::numeric_limits<double>::infinity();
  }
  raise_type_error(std::string(function) + ": " + name + " must be a number, not " +
                   type_of(given));
}

Object to_int(const char* function, const char* name, PyObject* given) {
  PyObject* index = is_bool(given) ? nullptr : PyNumber_Index(given);
  if (!index) {
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) throw PythonError{};
    PyErr_Clear();
    raise_type_error(std::string(function) + ": " + name + " must be an int, not " +
                     type_of(given));
  }
  return Object::steal(index);
}

}  // namespace

double to_number(const char* function, const char* name, Range range, PyObject* given) {
  if (range == Range::flag) return to_flag(function, name, given);
  const double value =
      PyFloat_CheckExact(given) ? PyFloat_AS_DOUBLE(given) : converted(function, name, given);
  if (!contains(range, value))
    raise_value_error(std::string(function) + ": " + condition(range, name) + ", it is " +
                      repr_of(given));
  return value;
}

bool to_flag(const char* function, const char* name, PyObject* given) {
  if (given == Py_False) return false;
  if (given == Py_True) return true;
  if (!is_bool(given))
    raise_type_error(std::string(function) + ": " + name + " must be True or False, not " +
                     repr_of(given));
  const int value = PyObject_IsTrue(given);
  if (value < 0) throw PythonError{};
  return value == 1;
}

int thread_count(const char* function, const char* name, PyObject* given) {
  const Object index = to_int(function, name, given);
  int overflow;
  const long count = PyLong_AsLongAndOverflow(index.ptr(), &overflow);
  if (overflow || count < 1 || count > max_threads)
    raise_value_error(std::string(function) + ": 1 <= " + name +
                      " <= " + std::to_string(max_threads) + " must hold, it is " + repr_of(given));
  return static_cast<int>(count);
}

std::uint64_t to_uint64(const char* function, const char* name, PyObject* given) {
  const Object index = to_int(function, name, given);
  const std::uint64_t value = PyLong_AsUnsignedLongLong(index.ptr());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    raise_value_error(std::string(function) + ": 0 <= " + name + " < 2**64 must hold, it is " +
                      repr_of(given));
  }
  return value;
}

bool is_plain_int(PyObject* given) {
  if (PyLong_CheckExact(given)) return true;
  const bool is_numpys = !std::strncmp(Py_TYPE(given)->tp_name, "numpy.", 6);
  return is_numpys && PyIndex_Check(given) && !PySequence_Check(given) && !is_bool(given);
}

long long to_count(const char* function, const char* name, PyObject* given) {
  if (!is_plain_int(given))
    raise_type_error(std::string(function) + ": " + name + " must be an int, not " +
                     type_of(given));
  const Object index = Object::made(PyNumber_Index(given));
  int overflow;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow || value < 0 || value >= max_count)
    raise_value_error(std::string(function) + ": 0 <= " + name + " < 2**53 must hold, it is " +
                      repr_of(given));
  return value;
}

}  // namespace fastopt
