// _core.Options: a mapping with fixed keys, whose values are checked when they are set and lie as
// numbers where steps read them. Written by hand, because setting one is to cost no more than that.
#include "options.hpp"

#include "../python/gil.hpp"
#include "../python/numbers.hpp"
#include "../step/array_counts.hpp"
#include "../step/options/option_table.hpp"

namespace fastopt {
namespace {

struct OptionsObject {
  PyObject_HEAD OptionTable* table;  // null until __init__
};

PyTypeObject* options_type = nullptr;

OptionTable& table_in(PyObject* self) {
  OptionTable* table = reinterpret_cast<OptionsObject*>(self)->table;
  if (table) return *table;
  PyErr_SetString(PyExc_TypeError, "Options: __init__ was not called");
  throw PythonError{};
}

int init(PyObject* self, PyObject* arguments, PyObject* keywords) {
  static const char* names[] = {"owner", "place", "rule", "values", "count", "lacking", nullptr};
  const char *owner, *place, *rule_name;
  PyObject *values, *count, *lacking;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "sszO!OO", const_cast<char**>(names),
                                   &owner, &place, &rule_name, &PyDict_Type, &values, &count,
                                   &lacking))
    return -1;
  return with_errors(-1, [&] {
    OptionTable*& place_of_table = reinterpret_cast<OptionsObject*>(self)->table;
    if (place_of_table) throw std::invalid_argument("Options: it has been made already");
    const Rule* rule = rule_name ? find_rule(rule_name) : nullptr;
    if (rule_name && !rule) throw std::invalid_argument("Options: there is no such rule");
    auto table = std::make_unique<OptionTable>(
        owner, place, rule, values,
        HeldCount{Object::borrow(count), &py::cast<StepCount&>(py::handle(count))},
        py::cast<std::vector<std::string>>(py::handle(lacking)));
    if (place_of_table) throw std::invalid_argument("Options: it has been made already");
    place_of_table = table.release();
    return 0;
  });
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  const OptionTable* table = reinterpret_cast<OptionsObject*>(self)->table;
  for (int i = 0; table && i < table->size(); ++i) Py_VISIT(table->given(i));
  return 0;
}

int clear(PyObject* self) {
  if (OptionTable* table = reinterpret_cast<OptionsObject*>(self)->table) table->forget();
  return 0;
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  delete reinterpret_cast<OptionsObject*>(self)->table;
  type->tp_free(self);
  Py_DECREF(type);
}

Py_ssize_t length(PyObject* self) {
  return with_errors<Py_ssize_t>(-1, [&] { return table_in(self).size(); });
}

PyObject* get(PyObject* self, PyObject* name) {
  return with_errors<PyObject*>(nullptr, [&]() -> PyObject* {
    const OptionTable& table = table_in(self);
    const CriticalSection lock(self);
    const int i = table.find(name);
    if (i >= 0) return Py_NewRef(table.given(i));
    PyErr_SetObject(PyExc_KeyError, name);
    return nullptr;
  });
}

int set(PyObject* self, PyObject* name, PyObject* value) {
  return with_errors(-1, [&] {
    OptionTable& table = table_in(self);
    if (!value) table.raise_cannot_be_removed(name);
    const CriticalSection lock(self);
    table.set(name, value);
    return 0;
  });
}

PyObject* iterate(PyObject* self) {
  return with_errors<PyObject*>(nullptr, [&] {
    const OptionTable& table = table_in(self);
    const Object names = Object::made(PyTuple_New(table.size()));
    for (int i = 0; i < table.size(); ++i)
      PyTuple_SET_ITEM(names.ptr(), i, Py_NewRef(table.name(i)));
    return Object::made(PyObject_GetIter(names.ptr())).release();
  });
}

PyObject* set_all(PyObject* self, PyObject* values) {
  return with_errors<PyObject*>(nullptr, [&] {
    OptionTable& table = table_in(self);
    const CriticalSection lock(self);
    table.set_all(values);
    return Object::none().release();
  });
}

PyObject* check(PyObject* self, PyObject* values) {
  return with_errors<PyObject*>(nullptr, [&] {
    const CriticalSection lock(self);
    table_in(self).check(values);
    return Object::none().release();
  });
}

PyObject* get_place(PyObject* self, void*) {
  return with_errors<PyObject*>(nullptr, [&] {
    return Object::made(PyUnicode_FromString(table_in(self).place().c_str())).release();
  });
}

int set_place(PyObject* self, PyObject* value, void*) {
  return with_errors(-1, [&] {
    const char* text = value ? PyUnicode_AsUTF8(value) : nullptr;
    if (!text) throw std::invalid_argument("Options: place must be a str");
    const CriticalSection lock(self);
    table_in(self).set_place(text);
    return 0;
  });
}

PyMethodDef methods[] = {{"_set_all", set_all, METH_O, nullptr},
                         {"_check", check, METH_O, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

PyGetSetDef properties[] = {{"_place", get_place, set_place, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

template <class Function>
PyType_Slot slot(int which, Function* function) {
  return {which, reinterpret_cast<void*>(function)};
}

}  // namespace

const OptionTable& options_in(py::handle options) {
  if (!PyObject_TypeCheck(options.ptr(), options_type))
    throw py::type_error("_core: not the options of an optimizer");
  return table_in(options.ptr());
}

void add_options(py::module_& module) {
  py::class_<StepCount>(module, "StepCount", plain_metaclass())
      .def(py::init<>())
      .def_readwrite("steps", &StepCount::steps);
  module.attr("ArrayCounts") = to_pybind(array_counts_class());
  PyType_Slot slots[] = {slot(Py_tp_init, init),         slot(Py_tp_new, PyType_GenericNew),
                         slot(Py_tp_traverse, traverse), slot(Py_tp_clear, clear),
                         slot(Py_tp_dealloc, dealloc),   slot(Py_mp_length, length),
                         slot(Py_mp_subscript, get),     slot(Py_mp_ass_subscript, set),
                         slot(Py_tp_iter, iterate),      {Py_tp_methods, methods},
                         {Py_tp_getset, properties},     {0, nullptr}};
  PyType_Spec spec{"fastopt._core.Options", sizeof(OptionsObject), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  const Object type = Object::made(PyType_FromSpec(&spec));
  options_type = reinterpret_cast<PyTypeObject*>(Py_NewRef(type.ptr()));
  module.def("as_number", [](const char* owner, const char* name, py::handle given) {
    return as_number(owner, name, given.ptr());
  });
  module.def("as_int", [](const char* owner, const char* name, py::handle given) {
    return to_pybind(as_int(owner, name, given.ptr()));
  });
  module.attr("Options") = py::handle(type.ptr());
}

}  // namespace fastopt
