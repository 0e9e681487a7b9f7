#include "errors.hpp"

namespace fastopt {

std::string text_of(PyObject* object) {
  return pybind11::str(pybind11::handle(object)).cast<std::string>();
}

std::string repr_of(PyObject* object) {
  return pybind11::repr(pybind11::handle(object)).cast<std::string>();
}

bool is_instance(PyObject* object, PyObject* type) {
  const int answer = PyObject_IsInstance(object, type);
  if (answer < 0) throw pybind11::error_already_set();
  return answer == 1;
}

}  // namespace fastopt
