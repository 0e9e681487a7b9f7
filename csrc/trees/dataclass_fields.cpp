#include "dataclass_fields.hpp"

#include <string>
#include <unordered_map>

#include "../python/errors.hpp"
#include "../python/gil.hpp"

namespace fastopt {
namespace {

using Cache = std::unordered_map<PyTypeObject*, std::shared_ptr<const DataclassFields>>;

// It holds the classes in it; with more than these it begins anew.
constexpr std::size_t most_classes = 64;

// Never destroyed: Python is gone by then.
Cache& cache = *new Cache;
PyObject *fields_function, *name_of_fields, *name_of_name;

}  // namespace

void import_dataclasses() {
  const Object module = Object::made(PyImport_ImportModule("dataclasses"));
  fields_function = Object::made(PyObject_GetAttrString(module.ptr(), "fields")).release();
  name_of_fields = Object::made(PyUnicode_InternFromString("__dataclass_fields__")).release();
  name_of_name = Object::made(PyUnicode_InternFromString("name")).release();
}

bool has_fields(PyTypeObject* type) { return bool(in_class(type, name_of_fields)); }

DataclassFields::DataclassFields(PyTypeObject* type, Object declared)
    : type_(Object::borrow(reinterpret_cast<PyObject*>(type))), declared_(std::move(declared)) {
  const Object fields = Object::made(PyObject_CallOneArg(fields_function, type_.ptr()));
  const Object list = Object::made(PySequence_List(fields.ptr()));
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list.ptr()); ++i) {
    PyObject* name = PyObject_GetAttr(PyList_GET_ITEM(list.ptr(), i), name_of_name);
    if (name && PyUnicode_CheckExact(name)) PyUnicode_InternInPlace(&name);
    Object held = Object::made(name);
    if (!PyUnicode_CheckExact(held.ptr()))
      raise_type_error(std::string(type->tp_name) + " has a field whose name is no str");
    const Slot slot(type, held.ptr());
    fields_.push_back({std::move(held), slot});
  }
}

std::shared_ptr<const DataclassFields> DataclassFields::of(PyObject* instance) {
  PyTypeObject* type = Py_TYPE(instance);
  Object declared = in_class(type, name_of_fields);
  {
    const CriticalSection lock(fields_function);
    const auto found = cache.find(type);
    if (found != cache.end() && found->second->declared_.ptr() == declared.ptr())
      return found->second;
  }
  auto made = std::make_shared<const DataclassFields>(type, std::move(declared));
  Cache full;  // what goes may run code of the user's: afterwards
  std::shared_ptr<const DataclassFields> before;
  const CriticalSection lock(fields_function);
  if (cache.size() >= most_classes) full.swap(cache);
  before = std::exchange(cache[type], made);
  return made;
}

int DataclassFields::find(PyObject* name) const {
  for (int field = 0; field < count(); ++field) {
    const int same = PyObject_RichCompareBool(fields_[field].name.ptr(), name, Py_EQ);
    if (same < 0) throw PythonError{};
    if (same) return field;
  }
  return -1;
}

PyObject* DataclassFields::read(PyObject* instance, int field) const {
  PyTypeObject* type = Py_TYPE(instance);
  PyObject* name = fields_[field].name.ptr();
  if (reinterpret_cast<PyObject*>(type) == type_.ptr())
    if (PyObject* value = fields_[field].slot.peek(instance)) return Py_NewRef(value);
  if (!is_read_plainly(type, name)) return nullptr;
  PyObject* value = PyObject_GenericGetAttr(instance, name);
  if (!value) PyErr_Clear();
  return value;
}

}  // namespace fastopt
