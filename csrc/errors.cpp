#include "errors.hpp"

namespace fastopt {

std::string text_of(PyObject* object) {
  return pybind11::str(pybind11::handle(object)).cast<std::string>();
}

std::string repr_of(PyObject* object) {
  return pybind11::repr(pybind11::handle(object)).cast<std::string>();
}

}  // namespace fastopt
