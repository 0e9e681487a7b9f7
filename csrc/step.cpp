#include "step.hpp"

#include <memory>
#include <string>
#include <vector>

#include "parallel.hpp"

namespace fastopt {
namespace {

// Lists for reuse. A second one is in use only where checking the arguments of a step runs code of
// the user's (the comparison of dict keys) that makes a step itself.
thread_local std::vector<std::unique_ptr<TensorList>> spare_lists;

TensorList* take_list() {
  if (spare_lists.empty()) return new TensorList;
  TensorList* list = spare_lists.back().release();
  spare_lists.pop_back();
  return list;
}

void give_back(TensorList* list) {
  list->clear();
  spare_lists.emplace_back(list);
}

PyObject* step_attribute() {
  static PyObject* interned = PyUnicode_InternFromString("step");
  return interned;
}

pybind11::object attribute(PyObject* object, PyObject* name) {
  PyObject* value = PyObject_GetAttr(object, name);
  if (!value) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::object>(value);
}

long long read_step(const char* function, PyObject* state) {
  constexpr long long exact_in_double = 1LL << 53;
  const pybind11::object step = attribute(state, step_attribute());
  const auto index = pybind11::reinterpret_steal<pybind11::object>(
      PyBool_Check(step.ptr()) ? nullptr : PyNumber_Index(step.ptr()));
  if (!index) {
    PyErr_Clear();
    raise_type_error(std::string(function) + ": state.step must be an int, not " +
                     type_of(step.ptr()));
  }
  int overflow;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow || value < 0 || value >= exact_in_double)
    raise_value_error(std::string(function) + ": 0 <= state.step < 2**53 must hold, it is " +
                      repr_of(step.ptr()));
  return value;
}

void check_class(const char* function, PyObject* state, PyObject* wanted) {
  if (wanted == Py_None ? state == Py_None : PyObject_IsInstance(state, wanted) == 1) return;
  const std::string name = wanted == Py_None
                               ? "None, as the rule has no state"
                               : text_of(pybind11::handle(wanted).attr("__name__").ptr());
  raise_type_error(std::string(function) + ": state must be " + name + ", not " + type_of(state));
}

}  // namespace

StepCall::StepCall(const char* function, PyObject* const* arguments, Py_ssize_t count)
    : read(function, arguments, count), list_(nullptr) {
  PyObject* state_class = read.object();
  take({"params", "", read.object()}, Streams::param, true);
  grads_ = read.object();
  state_ = read.object();
  check_class(function, state_, state_class);
  if (state_class == Py_None)
    state_ = nullptr;
  else
    step_ = read_step(function, state_);
  list_ = take_list();
}

StepCall::~StepCall() {
  if (list_) give_back(list_);
}

void StepCall::read_rest(const TermOptions& terms) {
  take({"grads", "", grads_}, Streams::grad, terms.zero_grads);
  PyObject* mask = read.object();
  masked_ = mask != Py_None;
  if (masked_)
    take({"mask", "", mask}, Streams::mask, false);
  else if (terms.keep_prob != 1)
    raise_value_error(std::string(read.function()) + ": keep_prob needs a mask, which is None");
  threads_ = read.threads(get_num_threads());
}

bool StepCall::take_state(const char* name, PyObject* interned_name, bool optional) {
  pybind11::object& tree = held_[state_arrays_];
  tree = attribute(state_, interned_name);
  if (optional && tree.is_none()) {
    read.check_not_needed(name);
    return false;
  }
  take({name, "state.", tree.ptr()}, Streams::first_state + state_arrays_, true);
  ++state_arrays_;
  return true;
}

void StepCall::commit() {
  list_->collect(read.function(), arguments_, count_);
  ++step_;
  if (!state_) return;
  const auto step = pybind11::reinterpret_steal<pybind11::object>(PyLong_FromLongLong(step_));
  if (!step || PyObject_SetAttr(state_, step_attribute(), step.ptr()) < 0)
    throw pybind11::error_already_set();
}

void StepCall::take(NamedTree tree, int stream, bool written) {
  arguments_[count_++] = {tree, stream, written};
  if (written) written_ |= 1u << stream;
}

}  // namespace fastopt
