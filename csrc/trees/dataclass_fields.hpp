// The fields of dataclass instances, which are nodes of trees. They are read as plain attributes,
// so that no code of the user's runs: what is no plain one is not read.
#pragma once
#include <Python.h>

#include <memory>
#include <vector>

#include "../python/attribute.hpp"
#include "../python/object.hpp"

namespace fastopt {

// To be called once, before anything else here.
void import_dataclasses();

bool has_fields(PyTypeObject* type);

// Classes are no instances, and of those that are not made by Python's class statement, such as
// arrays, nothing is looked up.
inline bool is_dataclass_instance(PyObject* object) {
  return PyType_HasFeature(Py_TYPE(object), Py_TPFLAGS_HEAPTYPE) && has_fields(Py_TYPE(object));
}

// What dataclasses.fields tells of a class: it is asked once.
class DataclassFields {
 public:
  // Those of an instance.
  static std::shared_ptr<const DataclassFields> of(PyObject* instance);

  DataclassFields(PyTypeObject* type, Object declared);

  int count() const { return static_cast<int>(fields_.size()); }
  PyObject* name(int field) const { return fields_[field].name.ptr(); }

  // Which field has a name, or -1. Comparing names may run code of the user's.
  int find(PyObject* name) const;

  // What any dataclass instance has under the name of a field: a new reference, or null where it
  // has none, or no plain attribute.
  PyObject* read(PyObject* instance, int field) const;

 private:
  struct Field {
    Object name;
    Slot slot;
  };

  Object type_, declared_;
  std::vector<Field> fields_;
};

}  // namespace fastopt
