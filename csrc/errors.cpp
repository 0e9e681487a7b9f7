#include "errors.hpp"

namespace fastopt {

namespace {

// The text, shortened where it is long. A message must come about, whatever the object does: one
// that cannot be shown is named by its type.
std::string shown(PyObject* text, PyObject* object) {
  constexpr Py_ssize_t longest = 100;
  const auto whole = pybind11::reinterpret_steal<pybind11::object>(text);
  const auto part = pybind11::reinterpret_steal<pybind11::object>(
      text ? PyUnicode_Substring(text, 0, longest) : nullptr);
  const auto bytes = pybind11::reinterpret_steal<pybind11::object>(
      part ? PyUnicode_AsEncodedString(part.ptr(), "utf-8", "backslashreplace") : nullptr);
  if (!bytes) {
    const bool is_no_error = PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception);
    if (is_no_error) throw pybind11::error_already_set();  // but an interrupt, or the like
    PyErr_Clear();
    return "<" + type_of(object) + " object>";
  }
  return PyBytes_AS_STRING(bytes.ptr()) +
         std::string(PyUnicode_GET_LENGTH(text) > longest ? "..." : "");
}

}  // namespace

std::string text_of(PyObject* object) {
  // That of a str is it itself: to ask for it would let signals in.
  return shown(PyUnicode_CheckExact(object) ? Py_NewRef(object) : PyObject_Str(object), object);
}

std::string repr_of(PyObject* object) { return shown(PyObject_Repr(object), object); }

bool is_instance(PyObject* object, PyObject* type) {
  const int answer = PyObject_IsInstance(object, type);
  if (answer < 0) throw pybind11::error_already_set();
  return answer == 1;
}

}  // namespace fastopt
