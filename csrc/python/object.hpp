// References to Python's objects, and Python's errors on their way through C++.
#pragma once
#include <Python.h>

#include <utility>

namespace fastopt {

// Thrown where Python's error indicator is set: there the error stays until Python gets it.
struct PythonError {};

// A reference that is held, or null.
class Object {
 public:
  Object() = default;
  Object(const Object& other) : object_(Py_XNewRef(other.object_)) {}
  Object(Object&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Object& operator=(Object other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Object() { Py_XDECREF(object_); }

  static Object steal(PyObject* reference) { return Object(reference); }
  static Object borrow(PyObject* object) { return Object(Py_XNewRef(object)); }

  // Takes over what a function of Python's has made; throws if it has set an error instead.
  static Object made(PyObject* reference) {
    if (!reference) throw PythonError{};
    return Object(reference);
  }

  static Object none() { return borrow(Py_None); }

  explicit operator bool() const { return object_ != nullptr; }
  bool is_none() const { return object_ == Py_None; }
  PyObject* ptr() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }

 private:
  explicit Object(PyObject* reference) : object_(reference) {}

  PyObject* object_ = nullptr;
};

// Puts an error aside as long as code runs that may make others.
class ErrorAside {
 public:
  ErrorAside() { PyErr_Fetch(&type_, &value_, &traceback_); }
  ~ErrorAside() { PyErr_Restore(type_, value_, traceback_); }
  ErrorAside(const ErrorAside&) = delete;
  ErrorAside& operator=(const ErrorAside&) = delete;

 private:
  PyObject *type_, *value_, *traceback_;
};

}  // namespace fastopt
