#include "option_reader.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "errors.hpp"
#include "tree.hpp"

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

// The names of the keywords, interned, in the order in which StepOptions reads them.
PyObject* names[32];
int name_count = 0;

// Reads nothing; StepOptions tells it the names.
struct NameCollector {
  double number(const char* name, Range, double) { return add(name); }
  double number_or_none(const char* name, Range, double) { return add(name); }
  bool flag(const char* name) { return add(name); }
  Penalty penalty(const char* name) { return {name, double(add(name)), nullptr}; }
  PyObject* object(const char* name) { return add(name), nullptr; }
  int threads(const char* name) { return add(name); }

  int add(const char* name) {
    if (name_count == sizeof(names) / sizeof(*names)) throw std::length_error("too many options");
    names[name_count++] = Object::made(PyUnicode_InternFromString(name)).release();
    return 0;
  }
};

}  // namespace

double to_number(const char* function, const char* name, Range range, PyObject* given) {
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

Penalty to_penalty(const char* function, const char* name, PyObject* given) {
  if (is_container(given)) return {name, 0, given};
  return {name, to_number(function, name, Range::non_negative, given), nullptr};
}

double PositionalReader::number(const char* name, Range range, const char* needs) {
  const double value = to_number(function_, name, range, object());
  if (needs && value != 0) need_ = {needs, name, value};
  return value;
}

bool PositionalReader::flag(const char* name) { return to_flag(function_, name, object()); }

PyObject* PositionalReader::object() {
  if (next_ == count_) raise_type_error(std::string(function_) + ": too few arguments");
  return arguments_[next_++];
}

void PositionalReader::check_all_read() const {
  if (next_ != count_) raise_type_error(std::string(function_) + ": too many arguments");
}

void PositionalReader::check_not_needed(const char* name) const {
  if (!need_.array || std::strcmp(need_.array, name)) return;
  const std::string function = function_;
  const std::string init = function.substr(0, function.rfind('_')) + "_init";
  raise_value_error(function + ": " + need_.by + "=" +
                    text_of(Object::made(PyFloat_FromDouble(need_.value)).ptr()) + " needs state." +
                    name + ", which is None; " + init + "(params, " + need_.by + "=True) makes it");
}

void KeywordReader::learn_names() {
  static_assert(sizeof(names) / sizeof(*names) == max_names);
  name_count = 0;
  NameCollector collector;
  StepOptions{collector};
}

KeywordReader::KeywordReader(const char* function, PyObject* dict) : function_(function) {
  if (!PyDict_Check(dict))
    raise_type_error(std::string(function) + ": the options must be a dict, not " + type_of(dict));
  if (PyDict_GET_SIZE(dict) == 0) return;
  PyObject *key, *value;
  for (Py_ssize_t position = 0; PyDict_Next(dict, &position, &key, &value);) {
    int place = 0;
    while (place < name_count && names[place] != key) ++place;
    if (place == name_count && PyUnicode_Check(key))  // a string that is not interned
      for (place = 0; place < name_count && PyUnicode_Compare(names[place], key) != 0;) ++place;
    if (place == name_count)
      raise_type_error(std::string(function) + "() got an unexpected keyword argument " +
                       repr_of(key));
    given_[place] = value;
  }
}

double KeywordReader::number(const char* name, Range range, double otherwise) {
  PyObject* given = next();
  return given ? to_number(function_, name, range, given) : otherwise;
}

double KeywordReader::number_or_none(const char* name, Range range, double otherwise) {
  PyObject* given = next();
  return given && given != Py_None ? to_number(function_, name, range, given) : otherwise;
}

bool KeywordReader::flag(const char* name) {
  PyObject* given = next();
  return given && to_flag(function_, name, given);
}

Penalty KeywordReader::penalty(const char* name) {
  PyObject* given = next();
  return given ? to_penalty(function_, name, given) : Penalty{name, 0, nullptr};
}

PyObject* KeywordReader::object(const char* /*name*/) {
  PyObject* given = next();
  return given == Py_None ? nullptr : given;
}

int KeywordReader::threads(const char* name) {
  PyObject* given = next();
  return given && given != Py_None ? thread_count(function_, name, given) : 0;
}

}  // namespace fastopt
