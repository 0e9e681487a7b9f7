// Python exceptions with composed messages.
#pragma once
#include <Python.h>
#include <pybind11/pybind11.h>

#include <string>

namespace fastopt {

[[noreturn]] inline void raise_type_error(const std::string& message) {
  throw pybind11::type_error(message);
}

[[noreturn]] inline void raise_value_error(const std::string& message) {
  throw pybind11::value_error(message);
}

// str(object) and repr(object) for messages.
std::string text_of(PyObject* object);
std::string repr_of(PyObject* object);
// isinstance(object, type); throws what a class of the user's raises.
bool is_instance(PyObject* object, PyObject* type);

inline std::string type_of(PyObject* object) { return Py_TYPE(object)->tp_name; }

}  // namespace fastopt
