// Python exceptions with composed messages.
#pragma once
#include <Python.h>

#include <string>

#include "object.hpp"

namespace fastopt {

[[noreturn]] void raise_type_error(const std::string& message);
[[noreturn]] void raise_value_error(const std::string& message);
[[noreturn]] void raise_runtime_error(const std::string& message);

// str(object) and repr(object) for messages.
std::string text_of(PyObject* object);
std::string repr_of(PyObject* object);
// isinstance(object, type); throws what a class of the user's raises.
bool is_instance(PyObject* object, PyObject* type);

inline std::string type_of(PyObject* object) { return Py_TYPE(object)->tp_name; }

}  // namespace fastopt
