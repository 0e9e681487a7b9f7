// Attributes of objects that the user holds.
#pragma once
#include <Python.h>
#include <structmember.h>

#include "object.hpp"

namespace fastopt {

// Whether an object keeps an attribute as `type` does, of which it is an instance: to read and to
// set it then runs no code of the user's.
inline bool has_plain_attribute(PyObject* object, PyTypeObject* type, PyObject* name) {
  PyTypeObject* own = Py_TYPE(object);
  if (own == type) return true;
  if (own->tp_getattro != PyObject_GenericGetAttr || own->tp_setattro != PyObject_GenericSetAttr)
    return false;
  const Object its = Object::steal(PyObject_GetAttr(reinterpret_cast<PyObject*>(own), name));
  const Object wanted = Object::steal(PyObject_GetAttr(reinterpret_cast<PyObject*>(type), name));
  PyErr_Clear();
  return its && its.ptr() == wanted.ptr();
}

// Whether a class keeps an attribute in a slot of its own and in no other way.
inline bool has_plain_slot(PyTypeObject* type, PyObject* name) {
  if (type->tp_getattro != PyObject_GenericGetAttr || type->tp_setattro != PyObject_GenericSetAttr)
    return false;
  const Object found = Object::steal(PyObject_GetAttr(reinterpret_cast<PyObject*>(type), name));
  PyErr_Clear();
  return found && Py_TYPE(found.ptr()) == &PyMemberDescr_Type;
}

// Where the instances of a class have an attribute of __slots__: read there, it costs a tenth.
class Slot {
 public:
  Slot() = default;
  Slot(PyTypeObject* type, PyObject* name) {
#ifndef Py_GIL_DISABLED  // where another thread could set it meanwhile
    const Object found = Object::steal(PyObject_GetAttr(reinterpret_cast<PyObject*>(type), name));
    PyErr_Clear();
    if (!found || Py_TYPE(found.ptr()) != &PyMemberDescr_Type) return;
    const auto* member = reinterpret_cast<PyMemberDescrObject*>(found.ptr())->d_member;
    if (member->type == T_OBJECT_EX) offset_ = member->offset;
#else
    static_cast<void>(type), static_cast<void>(name);
#endif
  }

  // What it holds, borrowed; null where there is no such slot, or nothing in it.
  PyObject* peek(PyObject* object) const {
    if (offset_ == 0) return nullptr;
    return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object) + offset_);
  }

 private:
  Py_ssize_t offset_ = 0;
};

}  // namespace fastopt
