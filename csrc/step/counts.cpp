#include "counts.hpp"

#include <stdexcept>
#include <string>

#include "../python/errors.hpp"
#include "../python/numbers.hpp"

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

[[noreturn]] static void raise_not_plain(const char* function, PyObject* state) {
  raise_type_error(std::string(function) + ": state.step must be a plain attribute, not one of " +
                   type_of(state) + "'s own");
}

Slot slot_of_step(const char* function, PyObject* state) {
  if (!has_plain_slot(Py_TYPE(state), name_of_step())) raise_not_plain(function, state);
  return Slot(Py_TYPE(state), name_of_step());
}

void check_state_class(const char* function, PyObject* state, PyObject* wanted) {
  if (wanted == Py_None && state == Py_None) return;
  if (wanted != Py_None && is_instance(state, wanted)) {
    if (has_plain_attribute(state, reinterpret_cast<PyTypeObject*>(wanted), name_of_step())) return;
    raise_not_plain(function, state);
  }
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

long long Counts::add_step(const char* function, PyObject* state, Slot slot) {
  PyObject* there = slot.peek(state);
  Object step = there ? Object::borrow(there) : attribute(function, "state", state, name_of_step());
  const long long value = to_count(function, "state.step", step.ptr());
  counts_.push_back(
      {state, name_of_step(), std::move(step), Object::made(PyLong_FromLongLong(value + 1))});
  return value;
}

std::uint64_t Counts::add_offset(const char* function, PyObject* drop) {
  Object offset = attribute(function, "drop", drop, name_of_offset());
  if (!is_plain_int(offset.ptr()))
    raise_type_error(std::string(function) + ": drop.offset must be an int, not " +
                     type_of(offset.ptr()));
  const std::uint64_t value = to_uint64(function, "drop.offset", offset.ptr());
  counts_.push_back({drop, name_of_offset(), std::move(offset), {}});
  drop_ = drop;
  return value;
}

double Counts::add_scalar(const char* function, PyObject* state, PyObject* name) {
  Object scalar = attribute(function, "state", state, name);
  if (!PyFloat_CheckExact(scalar.ptr()))
    raise_type_error(std::string(function) + ": state." + text_of(name) + " must be a float, not " +
                     type_of(scalar.ptr()));
  const double value = PyFloat_AS_DOUBLE(scalar.ptr());
  counts_.push_back({state, name, std::move(scalar), {}});
  return value;
}

Counts::Count& Counts::find(PyObject* object, PyObject* name) {
  for (Count& count : counts_)
    if (count.object == object && count.name == name) return count;
  throw std::logic_error("Counts: this count was not noted");
}

void Counts::set_offset(std::uint64_t value) {
  if (!drop_) return;
  find(drop_, name_of_offset()).after = Object::made(PyLong_FromUnsignedLongLong(value));
}

void Counts::set_scalar(PyObject* state, PyObject* name, double value) {
  find(state, name).after = Object::made(PyFloat_FromDouble(value));
}

void Counts::clear() {
  counts_.clear();
  drop_ = nullptr;
}

void Counts::advance() {
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    if (PyObject_SetAttr(counts_[i].object, counts_[i].name, counts_[i].after.ptr()) == 0) continue;
    const ErrorAside first;  // which is the one to tell
    while (i-- > 0)
      if (PyObject_SetAttr(counts_[i].object, counts_[i].name, counts_[i].before.ptr()) < 0)
        PyErr_Clear();
    throw PythonError{};
  }
}

}  // namespace fastopt
