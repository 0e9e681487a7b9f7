// Between the two phases of a rule whose matrices are made orthogonal: Python has the product of
// matrices. Nothing is changed by then, so it may fail.
#include <string>

#include "../arrays/numpy_array.hpp"
#include "../python/errors.hpp"
#include "../python/gil.hpp"
#include "step.hpp"

namespace fastopt {
namespace {

PyObject* orthogonalize = nullptr;

constexpr const char* spare = "fastopt: room for directions";

// Memory of at least so many bytes, which the thread keeps from step to step: what is in use is not
// there, so that code of Python's that makes a step meanwhile has other memory.
Object take_memory(std::int64_t bytes) {
  PyObject* kept = PyThreadState_GetDict();  // borrowed
  Object memory = Object::borrow(kept ? PyDict_GetItemString(kept, spare) : nullptr);
  if (memory && PyDict_DelItemString(kept, spare) < 0) throw PythonError{};
  npy_intp size = static_cast<npy_intp>(bytes);
  if (memory && PyArray_SIZE(as_array(memory.ptr())) >= size) return memory;
  return Object::made(PyArray_SimpleNew(1, &size, NPY_UINT8));
}

// Runs no code of Python's, and need not succeed.
void give_back_memory(const Object& memory) {
  PyObject* kept = PyThreadState_GetDict();
  if (kept && PyDict_SetItemString(kept, spare, memory.ptr()) < 0) PyErr_Clear();
}

// Calls it in a context of its own: what NumPy does about NaNs goes with that, and an interrupt
// could come where it was changed and not yet set back.
void call_in_context(PyObject* function, PyObject* first, PyObject* second) {
  const Object context = Object::made(PyContext_CopyCurrent());
  if (PyContext_Enter(context.ptr()) < 0) throw PythonError{};
  PyObject* result = PyObject_CallFunctionObjArgs(function, first, second, nullptr);
  const bool left = PyContext_Exit(context.ptr()) == 0;
  const Object returned = Object::made(result);
  if (!left) throw PythonError{};
}

// (offset in bytes, dtype, matrices, rows, columns, the options of the rule)
Object described(const Room::Stack& stack, const Rule& rule, const double* options) {
  const Object numbers = Object::made(PyTuple_New(rule.options.count));
  for (int i = 0; i < rule.options.count; ++i)
    PyTuple_SET_ITEM(numbers.ptr(), i, Object::made(PyFloat_FromDouble(options[i])).release());
  return Object::made(Py_BuildValue(
      "LsLLLO", static_cast<long long>(stack.offset),
      stack.dtype == Dtype::float32 ? "float32" : "float64", static_cast<long long>(stack.matrices),
      static_cast<long long>(stack.rows), static_cast<long long>(stack.columns), numbers.ptr()));
}

}  // namespace

void Step::use_orthogonalizer(PyObject* given) { orthogonalize = Py_NewRef(given); }

void Step::check_matrices() const {
  const Tensors& tensors = work_->arrays.tensors;
  for (const int i : work_->room.stacked) {
    const Tensor& tensor = tensors.all[i];
    const int axes = tensors.factored[tensor.factored].axes;
    const StepPart& part = work_->parts[tensor.group];
    const bool flattens = work_->groups[part.group].options[rule_.flatten] != 0;
    if (axes == 2 || flattens) continue;
    const std::string name = "params" + path_of_leaf(arguments_[0].tree, tensor.entry);
    raise_value_error(std::string(function_) + ": " + name + " has " + std::to_string(axes) +
                      (axes == 1 ? " axis" : " axes") + ", and is no matrix; " +
                      (axes > 2 ? "flatten=True takes all but the first as one"
                                : "it is for another rule, such as that of adam_step"));
  }
}

// Returns the memory in which the matrices are, for `launch`.
Object Step::make_orthogonal() {
  check_matrices();
  Room& room = work_->room;
  Tensors& tensors = work_->arrays.tensors;
  Object memory = take_memory(room.bytes_of_stacks());
  room.place_stacks(tensors, PyArray_DATA(as_array(memory.ptr())));
  {
    const WithoutGil released(tensors.elements >= release_threshold);
    launch_directions(tensors, work_->updates.data(), shared_.flush_denormals != 0, threads(),
                      room);
  }
  const Object stacks = Object::made(PyList_New(0));
  for (const Room::Stack& stack : room.stacks) {
    const StepPart& part = work_->parts[stack.group];
    const Object one = described(stack, rule_, work_->groups[part.group].options);
    if (PyList_Append(stacks.ptr(), one.ptr()) < 0) throw PythonError{};
  }
  call_in_context(orthogonalize, memory.ptr(), stacks.ptr());
  return memory;
}

void Step::keep_memory(const Object& memory) { give_back_memory(memory); }

}  // namespace fastopt
