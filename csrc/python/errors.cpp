#include "errors.hpp"

namespace fastopt {

namespace {

// The text, shortened where it is long. A message must come about, whatever the object does: one
// that cannot be shown is named by its type.
std::string shown(PyObject* text, PyObject* object) {
  constexpr Py_ssize_t longest = 100;
  const Object whole = Object::steal(text);
  const Object part = Object::steal(text ? PyUnicode_Substring(text, 0, longest) : nullptr);
  const Object bytes = Object::steal(
      part ? PyUnicode_AsEncodedString(part.ptr(), "utf-8", "backslashreplace") : nullptr);
  if (!bytes) {
    const bool is_interrupt = PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception);
    if (is_interrupt) throw PythonError{};
    PyErr_Clear();
    return "<" + type_of(object) + " object>";
  }
  return PyBytes_AS_STRING(bytes.ptr()) +
         std::string(PyUnicode_GET_LENGTH(text) > longest ? "..." : "");
}

[[noreturn]] void raise(PyObject* type, const std::string& message) {
  PyErr_SetString(type, message.c_str());
  throw PythonError{};
}

}  // namespace

void raise_type_error(const std::string& message) { raise(PyExc_TypeError, message); }
void raise_value_error(const std::string& message) { raise(PyExc_ValueError, message); }
void raise_runtime_error(const std::string& message) { raise(PyExc_RuntimeError, message); }

std::string text_of(PyObject* object) {
  // That of a str is it itself: to ask for it would let signals in.
  return shown(PyUnicode_CheckExact(object) ? Py_NewRef(object) : PyObject_Str(object), object);
}

std::string repr_of(PyObject* object) { return shown(PyObject_Repr(object), object); }

bool is_instance(PyObject* object, PyObject* type) {
  const int answer = PyObject_IsInstance(object, type);
  if (answer < 0) throw PythonError{};
  return answer == 1;
}

}  // namespace fastopt
