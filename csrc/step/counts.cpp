#include "counts.hpp"

#include <stdexcept>
#include <string>

#include "../python/errors.hpp"
#include "../python/numbers.hpp"
#include "../trees/tree.hpp"
#include "array_counts.hpp"

namespace fastopt {
namespace {

PyObject* name_of_step() {
  static PyObject* name = PyUnicode_InternFromString("step");
  return name;
}

PyObject* name_of_offset() {
  static PyObject* name = PyUnicode_InternFromString("offset");
  return name;
}

}  // namespace

Slot slot_of_step(const char* function, PyTypeObject* type) {
  const Object found = in_class(type, name_of_step());
  if (type->tp_setattro != PyObject_GenericSetAttr || !slot_descriptor(type, found))
    raise_type_error(std::string(function) + ": state.step must be a plain attribute, not one of " +
                     type->tp_name + "'s own");
  return Slot(type, name_of_step());
}

void check_state_class(const char* function, PyObject* state, PyObject* wanted) {
  if (wanted == Py_None ? state == Py_None : is_instance(state, wanted)) return;
  const std::string name =
      wanted == Py_None ? "None, as the rule has no state"
                        : text_of(Object::made(PyObject_GetAttrString(wanted, "__name__")).ptr());
  raise_type_error(std::string(function) + ": state must be " + name + ", not " + type_of(state));
}

Object attribute(const char* function, const char* of, PyObject* object, PyObject* name) {
  PyObject* value = PyObject_GetAttr(object, name);
  if (!value) {
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) throw PythonError{};
    PyErr_Clear();
    raise_type_error(std::string(function) + ": " + of + " has no " + text_of(name));
  }
  return Object::steal(value);
}

PyObject* Counts::add_step(const char* function, PyObject* state, Slot slot, long long& step) {
  PyObject* there = slot.peek(state);
  Object found =
      there ? Object::borrow(there) : attribute(function, "state", state, name_of_step());
  if (is_container(found.ptr()) || is_array_counts(found.ptr())) {
    counts_.push_back({state, name_of_step(), found, found, slot});
    return counts_.back().before.ptr();
  }
  step = to_count(function, "state.step", found.ptr());
  Object next = Object::made(PyLong_FromLongLong(step + 1));
  counts_.push_back({state, name_of_step(), std::move(found), std::move(next), slot});
  return nullptr;
}

void Counts::set_step(PyObject* state, Object value) {
  find(state, name_of_step()).after = std::move(value);
}

PyObject* Counts::spelled_out(PyObject* state) {
  Object& before = find(state, name_of_step()).before;
  if (is_array_counts(before.ptr()))
    before = as_tuple(begin_of_runs(before.ptr()), end_of_runs(before.ptr()));
  return before.ptr();
}

std::uint64_t Counts::add_offset(const char* function, PyObject* drop) {
  Object offset = attribute(function, "drop", drop, name_of_offset());
  if (!is_plain_int(offset.ptr()))
    raise_type_error(std::string(function) + ": drop.offset must be an int, not " +
                     type_of(offset.ptr()));
  const std::uint64_t value = to_uint64(function, "drop.offset", offset.ptr());
  counts_.push_back(
      {drop, name_of_offset(), std::move(offset), {}, Slot(Py_TYPE(drop), name_of_offset())});
  drop_ = drop;
  return value;
}

Counts::Count& Counts::find(PyObject* object, PyObject* name) {
  for (Count& count : counts_)
    if (count.object == object && count.name == name) return count;
  throw std::logic_error("Counts: this count was not noted");
}

void Counts::set_offset(std::uint64_t value) {
  find(drop_, name_of_offset()).after = Object::made(PyLong_FromUnsignedLongLong(value));
}

void Counts::clear() {
  counts_.clear();
  drop_ = nullptr;
}

// Right before it is set, nothing of the user's can have changed the class any more.
bool Counts::Count::set(PyObject* value) const {
  if (slot) return slot.set(object, value), true;
  if (is_set_plainly(Py_TYPE(object), name)) return PyObject_SetAttr(object, name, value) == 0;
  PyErr_Format(PyExc_TypeError, "%U must be a plain attribute, not one of %s's own", name,
               Py_TYPE(object)->tp_name);
  return false;
}

void Counts::advance() {
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i].set(counts_[i].after.ptr())) continue;
    const ErrorAside first;  // which is the one to tell
    while (i-- > 0)
      if (!counts_[i].set(counts_[i].before.ptr())) PyErr_Clear();
    throw PythonError{};
  }
}

}  // namespace fastopt
