#include "step.hpp"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "parallel.hpp"

namespace fastopt {
namespace {

// Workspaces for reuse. A second one is in use only where checking the arguments of a step runs
// code of the user's (the comparison of dict keys) that makes a step itself.
thread_local std::vector<std::unique_ptr<Workspace>> spare;

Workspace* take_workspace() {
  if (spare.empty()) return new Workspace;
  Workspace* work = spare.back().release();
  spare.pop_back();
  return work;
}

void give_back(Workspace* work) {
  work->list.clear();
  work->grads.clear();
  spare.emplace_back(work);
}

PyObject* step_attribute() {
  static PyObject* interned = PyUnicode_InternFromString("step");
  return interned;
}

pybind11::object attribute(const char* function, PyObject* state, PyObject* name) {
  PyObject* value = PyObject_GetAttr(state, name);
  if (!value) {
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) throw pybind11::error_already_set();
    PyErr_Clear();
    raise_type_error(std::string(function) + ": state has no " + text_of(name));
  }
  return pybind11::reinterpret_steal<pybind11::object>(value);
}

long long read_step(const char* function, PyObject* state) {
  constexpr long long exact_in_double = 1LL << 53;
  const pybind11::object step = attribute(function, state, step_attribute());
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
  if (wanted == Py_None ? state == Py_None : is_instance(state, wanted)) return;
  const std::string name = wanted == Py_None
                               ? "None, as the rule has no state"
                               : text_of(pybind11::handle(wanted).attr("__name__").ptr());
  raise_type_error(std::string(function) + ": state must be " + name + ", not " + type_of(state));
}

}  // namespace

StepCall::StepCall(const char* function, PyObject* const* arguments, Py_ssize_t count)
    : read(function, arguments, count) {
  PyObject* state_class = read.object();
  take({"params", "", read.object()}, Streams::param, true);
  grads_ = read.object();
  state_ = read.object();
  check_class(function, state_, state_class);
  if (state_class == Py_None)
    state_ = nullptr;
  else
    step_ = read_step(function, state_);
  work_ = take_workspace();
}

StepCall::~StepCall() {
  if (!PyGILState_Check()) {
    // The interpreter has ended during the step, and this thread ends now: touch nothing of
    // Python's.
    for (pybind11::object& tree : held_) tree.release();
    nonfinite_.release();
    return;
  }
  if (work_) give_back(work_);
}

void StepCall::read_rest(const TermOptions& terms) {
  take({"grads", "", grads_}, Streams::grad, terms.zero_grads);
  PyObject* mask = read.object();
  masked_ = mask != Py_None;
  if (masked_)
    take({"mask", "", mask}, Streams::mask, false);
  else if (terms.keep_prob != 1)
    raise_value_error(std::string(read.function()) + ": keep_prob needs a mask, which is None");
  PyObject* ema = read.object();
  averaged_ = ema != Py_None;
  if (averaged_) take({"ema", "", ema}, Streams::ema, true);
  if (averaged_ != (terms.ema_decay != TermOptions::not_given))
    raise_value_error(std::string(read.function()) + ": " +
                      (averaged_ ? "ema needs ema_decay" : "ema_decay needs ema") +
                      ", which is None");
  flush_denormals_ = read.flag("flush_denormals");
  threads_ = read.threads(get_num_threads());
  read.check_all_read();
}

bool StepCall::take_state(const char* name, PyObject* interned_name, bool optional) {
  pybind11::object& tree = held_[state_arrays_];
  tree = attribute(read.function(), state_, interned_name);
  if (optional && tree.is_none()) {
    read.check_not_needed(name);
    return false;
  }
  take({name, "state.", tree.ptr()}, Streams::first_state + state_arrays_, true);
  ++state_arrays_;
  return true;
}

bool StepCall::commit(const TermOptions& terms, const ClipOptions& clip) {
  if (clip.global() && clip.by_tensor())
    raise_value_error(std::string(read.function()) +
                      ": clip_norm and clip_tensor_norm exclude each other");
  work_->list.collect(read.function(), arguments_, count_);
  grad_scale_ = terms.signed_scale();
  if (clip.need_norms()) {
    measure_grads();
    if (clip.skip_nonfinite && work_->norms.nonfinite_entry >= 0) return false;
    clip_grads(terms, clip);
  }
  ++step_;
  if (!state_) return true;
  const auto step = pybind11::reinterpret_steal<pybind11::object>(PyLong_FromLongLong(step_));
  if (!step || PyObject_SetAttr(state_, step_attribute(), step.ptr()) < 0)
    throw pybind11::error_already_set();
  return true;
}

void StepCall::measure_grads() {
  constexpr int grads = 1;  // params and grads are the first arguments taken
  work_->grads.take_argument(work_->list, grads, norm_chunk);
  work_->norms.measure(work_->grads, threads_);
  const int entry = work_->norms.nonfinite_entry;  // counted in the order of params
  if (entry >= 0) nonfinite_ = pybind11::str("grads" + path_of_leaf(arguments_[0].tree, entry));
}

// Norms are those of the gradient as it is after grad_scale.
void StepCall::clip_grads(const TermOptions& terms, const ClipOptions& clip) {
  const double scale = std::fabs(terms.grad_scale);
  if (clip.global()) grad_scale_ *= clip_factor(clip.norm, scale * work_->norms.global, clip.eps);
  tensor_factors_ = clip.by_tensor();
  if (!tensor_factors_) return;
  work_->tensor_factors.clear();
  for (double norm : work_->norms.per_tensor)
    work_->tensor_factors.push_back(clip_factor(clip.tensor_norm, scale * norm, clip.eps));
}

void StepCall::launch_rule(int rule, const void* float32, const void* float64,
                           const TermOptions& terms) {
  const bool scaled = grad_scale_ != 1 || tensor_factors_;
  const Terms kind = masked_ || !terms.linear()  ? Terms::all
                     : averaged_                 ? Terms::linear_averaged
                     : scaled || !terms.absent() ? Terms::linear
                                                 : Terms::none;
  const double* factors = tensor_factors_ ? work_->tensor_factors.data() : nullptr;
  launch(work_->list,
         Launch{rule, kind, {float32, float64}, grad_scale_, factors, written_, flush_denormals_},
         threads_);
}

pybind11::object StepCall::result(const ClipOptions& clip, const TermOptions& terms,
                                  bool skipped) const {
  if (!clip.need_norms()) return pybind11::none();
  const double norm = std::fabs(terms.grad_scale) * work_->norms.global;
  return pybind11::make_tuple(skipped, norm, nonfinite_);
}

void StepCall::take(NamedTree tree, int stream, bool written) {
  arguments_[count_++] = {tree, stream, written};
  if (written) written_ |= 1u << stream;
}

}  // namespace fastopt
