#include "array_counts.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace fastopt {
namespace {

PyTypeObject* type;

struct ArrayCounts {
  PyVarObject head;  // whose size is the number of runs
  CountRun runs[1];
};

ArrayCounts* array_counts(PyObject* object) { return reinterpret_cast<ArrayCounts*>(object); }

// All that Python asks for is asked of a tuple.

Object as_tuple(PyObject* counts) { return as_tuple(begin_of_runs(counts), end_of_runs(counts)); }

template <class Ask>
auto ask_tuple(PyObject* self, decltype(std::declval<Ask>()(nullptr)) failed, const Ask& ask) {
  try {
    return ask(as_tuple(self).ptr());
  } catch (const PythonError&) {
    return failed;
  }
}

Py_ssize_t length(PyObject* self) { return end_of_runs(self)[-1].end; }

PyObject* get(PyObject* self, PyObject* key) {
  return ask_tuple(self, nullptr, [&](PyObject* tuple) { return PyObject_GetItem(tuple, key); });
}

PyObject* item(PyObject* self, Py_ssize_t at) {
  return ask_tuple(self, nullptr, [&](PyObject* tuple) { return PySequence_GetItem(tuple, at); });
}

PyObject* iterate(PyObject* self) { return ask_tuple(self, nullptr, PyObject_GetIter); }

PyObject* represent(PyObject* self) { return ask_tuple(self, nullptr, PyObject_Repr); }

Py_hash_t hash(PyObject* self) { return ask_tuple(self, -1, PyObject_Hash); }

PyObject* compare(PyObject* self, PyObject* other, int operation) {
  return ask_tuple(self, nullptr, [&](PyObject* tuple) {
    const Object with = is_array_counts(other) ? as_tuple(other) : Object::borrow(other);
    return PyObject_RichCompare(tuple, with.ptr(), operation);
  });
}

// A copy, and what is pickled, is a tuple: states may have one.
PyObject* reduce(PyObject* self, PyObject*) {
  return ask_tuple(self, nullptr, [](PyObject* tuple) {
    return Py_BuildValue("O(O)", reinterpret_cast<PyObject*>(&PyTuple_Type), tuple);
  });
}

void dealloc(PyObject* self) {
  PyTypeObject* its_type = Py_TYPE(self);
  its_type->tp_free(self);
  Py_DECREF(its_type);
}

PyMethodDef methods[] = {{"__reduce__", reduce, METH_NOARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

template <class Function>
PyType_Slot slot(int which, Function* function) {
  return {which, reinterpret_cast<void*>(function)};
}

}  // namespace

bool is_array_counts(PyObject* object) { return Py_TYPE(object) == type; }

const CountRun* begin_of_runs(PyObject* counts) { return array_counts(counts)->runs; }

const CountRun* end_of_runs(PyObject* counts) {
  return array_counts(counts)->runs + Py_SIZE(counts);
}

Object new_array_counts(const std::vector<CountRun>& runs) {
  Object made = Object::made(type->tp_alloc(type, static_cast<Py_ssize_t>(runs.size())));
  std::copy(runs.begin(), runs.end(), array_counts(made.ptr())->runs);
  return made;
}

Object as_tuple(const CountRun* begin, const CountRun* end) {
  Object made = Object::made(PyTuple_New(begin == end ? 0 : end[-1].end));
  for (int at = 0; begin < end; ++begin) {
    const Object count = Object::made(PyLong_FromLongLong(begin->count));
    for (; at < begin->end; ++at) PyTuple_SET_ITEM(made.ptr(), at, Py_NewRef(count.ptr()));
  }
  return made;
}

Object array_counts_class() {
  PyType_Slot slots[] = {slot(Py_tp_dealloc, dealloc),
                         slot(Py_tp_iter, iterate),
                         slot(Py_tp_repr, represent),
                         slot(Py_tp_hash, hash),
                         slot(Py_tp_richcompare, compare),
                         slot(Py_sq_length, length),
                         slot(Py_sq_item, item),
                         slot(Py_mp_length, length),
                         slot(Py_mp_subscript, get),
                         {Py_tp_methods, methods},
                         {0, nullptr}};
  PyType_Spec spec{"fastopt._core.ArrayCounts", offsetof(ArrayCounts, runs), sizeof(CountRun),
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  const Object made = Object::made(PyType_FromSpec(&spec));
  type = reinterpret_cast<PyTypeObject*>(Py_NewRef(made.ptr()));
  return made;
}

}  // namespace fastopt
