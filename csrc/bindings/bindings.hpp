// What the files of the bindings share, and what each of them adds to the module.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <new>
#include <stdexcept>

#include "../python/object.hpp"

namespace fastopt {

namespace py = pybind11;

void add_rules(py::module_& module);
void add_options(py::module_& module);
void add_plans(py::module_& module);
void add_dropout(py::module_& module);
void add_sums(py::module_& module);
void add_trees(py::module_& module);
void add_probes(py::module_& module);
void add_settings(py::module_& module);
void add_c_functions(py::module_& module);

inline py::object to_pybind(Object object) {
  return py::reinterpret_steal<py::object>(object.release());
}

// Whatever C++ throws becomes Python's error. What is called often bypasses pybind11's dispatch,
// which would take longer than a small step.
template <class Result, class Call>
Result with_errors(Result failed, const Call& call) {
  try {
    return call();
  } catch (const PythonError&) {  // Python has it already
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return failed;
}

using FastFunction = PyObject* (*)(PyObject* self, PyObject* const* arguments, Py_ssize_t count);

inline PyMethodDef method_of(const char* name, FastFunction function) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function)), METH_FASTCALL,
          nullptr};
}

// So that type checkers find classes of Python's own kind.
inline py::metaclass plain_metaclass() {
  return py::metaclass(reinterpret_cast<PyObject*>(&PyType_Type));
}

int threads_or_default(const char* function, py::handle threads);

}  // namespace fastopt
