#include "numbers.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "../engine/steps/ranges.hpp"
#include "attribute.hpp"
#include "errors.hpp"

namespace fastopt {
namespace {

bool is_bool(PyObject* object) {
  const char* type = Py_TYPE(object)->tp_name;
  return PyBool_Check(object) || !std::strcmp(type, "numpy.bool") ||
         !std::strcmp(type, "numpy.bool_");
}

// NumPy's dtypes, which JAX has too, have a name; torch's are torch.float32. Some are of kinds of
// their own, such as bfloat16.
bool is_real(PyObject* dtype) {
  const Object name = attribute_or_null(dtype, "name");
  std::string text = text_of(name ? name.ptr() : dtype);
  text.erase(0, text.rfind('.') + 1);
  for (const char* real : {"float", "bfloat", "int", "uint"})
    if (text.compare(0, std::strlen(real), real) == 0) return true;
  return false;
}

// What is wrong with a scalar, array or tensor of any library as a number: it must have no axes,
// and a real dtype. Null of what has no dtype, "" if all is right.
std::optional<std::string> why_no_number(PyObject* given) {
  const Object dtype = attribute_or_null(given, "dtype");
  const Object axes = dtype ? attribute_or_null(given, "ndim") : Object();
  if (!axes || !PyLong_CheckExact(axes.ptr())) return std::nullopt;
  if (PyLong_AsLong(axes.ptr()) != 0) return " with axes";
  return is_real(dtype.ptr()) ? "" : " of dtype " + text_of(dtype.ptr());
}

[[noreturn]] void raise_is_no(const char* what, const char* function, const char* name,
                              PyObject* given, const std::string& why = "") {
  raise_type_error(std::string(function) + ": " + name + " must be " + what + ", not " +
                   type_of(given) + why);
}

// A number, or infinity where an int is too large for one.
double converted(const char* function, const char* name, PyObject* given) {
  constexpr const char* what = "a number";
  if (is_bool(given) || !PyNumber_Check(given)) raise_is_no(what, function, name, given);
  if (!PyFloat_Check(given) && !PyLong_Check(given)) {
    const std::optional<std::string> why = why_no_number(given);
    if (why ? !why->empty() : PySequence_Check(given))
      raise_is_no(what, function, name, given, why.value_or(""));
  }
  const double value = PyFloat_AsDouble(given);
  if (value != -1 || !PyErr_Occurred()) return value;
  const bool too_large = PyErr_ExceptionMatches(PyExc_OverflowError);
  if (!too_large && !PyErr_ExceptionMatches(PyExc_TypeError)) throw PythonError{};
  PyErr_Clear();
  if (!too_large) raise_is_no(what, function, name, given);
  return std::numeric_limits<double>::infinity();
}

}  // namespace

double as_number(const char* function, const char* name, PyObject* given) {
  return PyFloat_CheckExact(given) ? PyFloat_AS_DOUBLE(given) : converted(function, name, given);
}

Object as_int(const char* function, const char* name, PyObject* given) {
  constexpr const char* what = "an int";
  if (PyLong_CheckExact(given)) return Object::borrow(given);
  if (is_bool(given)) raise_is_no(what, function, name, given);
  const std::optional<std::string> why = why_no_number(given);
  if (why && !why->empty()) raise_is_no(what, function, name, given, *why);
  PyObject* index = PyNumber_Index(given);
  if (index) return Object::steal(index);
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw PythonError{};
  PyErr_Clear();
  raise_is_no(what, function, name, given);
}

double to_number(const char* function, const char* name, Range range, PyObject* given) {
  if (range == Range::flag) return to_flag(function, name, given);
  const double value = as_number(function, name, given);
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
  const Object index = as_int(function, name, given);
  int overflow;
  const long count = PyLong_AsLongAndOverflow(index.ptr(), &overflow);
  if (overflow || count < 1 || count > max_threads)
    raise_value_error(std::string(function) + ": 1 <= " + name +
                      " <= " + std::to_string(max_threads) + " must hold, it is " + repr_of(given));
  return static_cast<int>(count);
}

std::uint64_t to_uint64(const char* function, const char* name, PyObject* given) {
  const Object index = as_int(function, name, given);
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
