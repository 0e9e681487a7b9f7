// Attributes of objects that the user holds, read and set without running code of the user's.
#pragma once
#include <Python.h>
#include <structmember.h>

#include "object.hpp"

namespace fastopt {

// The descriptor of an attribute in __slots__, of a class or one that it is derived from; else
// null.
inline PyMemberDescrObject* slot_descriptor(PyTypeObject* type, const Object& found) {
  if (!found || Py_TYPE(found.ptr()) != &PyMemberDescr_Type) return nullptr;
  auto* descriptor = reinterpret_cast<PyMemberDescrObject*>(found.ptr());
  const bool is_its_own = PyType_IsSubtype(type, descriptor->d_common.d_type);
  return is_its_own && descriptor->d_member->type == T_OBJECT_EX ? descriptor : nullptr;
}

// What a class, or one that it is derived from, has under a name: the descriptor itself; or null.
inline Object in_class(PyTypeObject* type, PyObject* name) {
#ifdef Py_GIL_DISABLED
  return Object::steal(_PyType_LookupRef(type, name));
#else
  return Object::borrow(_PyType_Lookup(type, name));
#endif
}

// Whether to set an attribute runs nothing of the user's: neither __setattr__ nor a property.
inline bool is_set_plainly(PyTypeObject* type, PyObject* name) {
  if (type->tp_setattro != PyObject_GenericSetAttr) return false;
  const Object found = in_class(type, name);
  return !found || !Py_TYPE(found.ptr())->tp_descr_set || slot_descriptor(type, found);
}

// Whether to read any attribute runs neither __getattribute__ nor __getattr__ of the user's.
inline bool reads_plainly(PyTypeObject* type) {
  return type->tp_getattro == PyObject_GenericGetAttr;
}

// Whether to read one runs nothing of the user's: no property either.
inline bool is_read_plainly(PyTypeObject* type, PyObject* name) {
  if (!reads_plainly(type)) return false;
  const Object found = in_class(type, name);
  if (!found || PyFunction_Check(found.ptr())) return true;
  const PyTypeObject* kind = Py_TYPE(found.ptr());
  return (!kind->tp_descr_get && !kind->tp_descr_set) || slot_descriptor(type, found);
}

// Any attribute, or null where the object has none. Runs code of the user's, if that is one's own.
inline Object attribute_or_null(PyObject* object, const char* name) {
  Object value = Object::steal(PyObject_GetAttrString(object, name));
  if (!value) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) throw PythonError{};  // such as an interrupt
    PyErr_Clear();
  }
  return value;
}

// Where the instances of a class have an attribute of __slots__. To read and to set it there costs
// a tenth, and is right whatever becomes of the class meanwhile.
class Slot {
 public:
  Slot() = default;
  Slot(PyTypeObject* type, PyObject* name) {
#ifndef Py_GIL_DISABLED  // where another thread could set it meanwhile
    const Object found = in_class(type, name);
    if (const auto* descriptor = slot_descriptor(type, found))
      offset_ = descriptor->d_member->offset;
#else
    static_cast<void>(type), static_cast<void>(name);
#endif
  }

  explicit operator bool() const { return offset_ != 0; }

  // What it holds, borrowed; null where there is no such slot, or nothing in it.
  PyObject* peek(PyObject* object) const { return offset_ ? *at(object) : nullptr; }

  void set(PyObject* object, PyObject* value) const {
    const Object before = Object::steal(std::exchange(*at(object), Py_NewRef(value)));
  }

 private:
  PyObject** at(PyObject* object) const {
    return reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object) + offset_);
  }

  Py_ssize_t offset_ = 0;
};

}  // namespace fastopt
