#include "step_call.hpp"

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
  work->groups.clear();
  work->numbers.clear();
  spare.emplace_back(work);
}

// Looked up at import: an import in the middle of a step could make threads wait for each other.
struct {
  PyObject *step_result, *dropout;
  PyObject *step, *p, *seed, *offset, *training, *step_count;  // names of attributes
} python;

pybind11::object attribute(const char* function, const char* of, PyObject* object, PyObject* name) {
  PyObject* value = PyObject_GetAttr(object, name);
  if (!value) {
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) throw pybind11::error_already_set();
    PyErr_Clear();
    raise_type_error(std::string(function) + ": " + of + " has no " + text_of(name));
  }
  return pybind11::reinterpret_steal<pybind11::object>(value);
}

// A count of steps, an attribute of `of`.
long long read_count(const char* function, const char* of, PyObject* object, PyObject* name) {
  constexpr long long exact_in_double = 1LL << 53;
  const pybind11::object step = attribute(function, of, object, name);
  const auto index = pybind11::reinterpret_steal<pybind11::object>(
      PyBool_Check(step.ptr()) ? nullptr : PyNumber_Index(step.ptr()));
  const auto whole_name = [&] { return std::string(of) + "." + text_of(name); };
  if (!index) {
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError))
      throw pybind11::error_already_set();
    PyErr_Clear();
    raise_type_error(std::string(function) + ": " + whole_name() + " must be an int, not " +
                     type_of(step.ptr()));
  }
  int overflow;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow || value < 0 || value >= exact_in_double)
    raise_value_error(std::string(function) + ": 0 <= " + whole_name() +
                      " < 2**53 must hold, it is " + repr_of(step.ptr()));
  return value;
}

void set_count(PyObject* object, PyObject* name, std::uint64_t count) {
  const auto value =
      pybind11::reinterpret_steal<pybind11::object>(PyLong_FromUnsignedLongLong(count));
  if (!value || PyObject_SetAttr(object, name, value.ptr()) < 0)
    throw pybind11::error_already_set();
}

}  // namespace

void use_classes(pybind11::object step_result, pybind11::object dropout) {
  python = {step_result.release().ptr(),
            dropout.release().ptr(),
            PyUnicode_InternFromString("step"),
            PyUnicode_InternFromString("p"),
            PyUnicode_InternFromString("seed"),
            PyUnicode_InternFromString("offset"),
            PyUnicode_InternFromString("training"),
            PyUnicode_InternFromString("step_count")};
}

void check_class(const char* function, PyObject* state, PyObject* wanted) {
  if (wanted == Py_None ? state == Py_None : is_instance(state, wanted)) return;
  const std::string name = wanted == Py_None
                               ? "None, as the rule has no state"
                               : text_of(pybind11::handle(wanted).attr("__name__").ptr());
  raise_type_error(std::string(function) + ": state must be " + name + ", not " + type_of(state));
}

StepOptions read_options(const char* function, PyObject* dict) {
  if (!PyDict_Check(dict) || PyDict_GET_SIZE(dict) > 0) {
    KeywordReader keywords(function, dict);
    return StepOptions(keywords);
  }
  static const StepOptions defaults = [&] {
    KeywordReader none(function, dict);
    return StepOptions(none);
  }();
  StepOptions options = defaults;
  options.call.threads = get_num_threads();
  return options;
}

StepGroup::StepGroup(const char* function, const StepOptions& given, PyObject* state_or_null)
    : options(given),
      state(state_or_null),
      step(state ? read_count(function, "state", state, python.step) : 0) {}

StepCall::StepCall(const char* function) : function_(function), work_(take_workspace()) {}

StepCall::~StepCall() { give_back(work_); }

StepGroup& StepCall::add_group(const StepOptions& options, PyObject* state) {
  return add_group(function_, 0, options, state);
}

StepGroup& StepCall::add_group(const char* function, int number, const StepOptions& options,
                               PyObject* state) {
  work_->groups.emplace_back(function, options, state);
  work_->numbers.push_back(number);
  return work_->groups.back();
}

void StepCall::count_in(PyObject* counter) {
  counter_ = counter;
  counted_ = read_count(function_, "optimizer", counter, python.step_count);
}

void StepCall::take_arrays(PyObject* params, PyObject* grads, const Plan* plan) {
  const TermOptions& terms = shared().terms;
  const CallOptions& call = shared().call;
  const std::string here = std::string(function_) + ": ";
  take({"params", "", params}, Streams::param, true);
  take({"grads", "", grads}, Streams::grad, terms.zero_grads);
  if (call.mask) {
    take({"mask", "", call.mask}, Streams::mask, false);
    keep_scale_ = 1 / terms.keep_prob;
  } else if (terms.keep_prob != 1) {
    raise_value_error(here + "keep_prob needs a mask, which is None");
  }
  if (call.drop) take_drop(call.drop);
  if (call.mask && call.drop) raise_value_error(here + "mask and drop exclude each other");
  if (call.update_mask) take({"update_mask", "", call.update_mask}, Streams::update_mask, false);
  if (call.ema) take({"ema", "", call.ema}, Streams::ema, true);
  const bool has_ema = plan ? plan->has_ema() : call.ema != nullptr;
  if (has_ema != (terms.ema_decay != TermOptions::not_given))
    raise_value_error(here + (has_ema ? "ema needs ema_decay" : "ema_decay needs ema") +
                      ", which is None");
  if (shared().clip.global() && shared().clip.by_tensor())
    raise_value_error(here + "clip_norm and clip_tensor_norm exclude each other");
  if (plan) written_ |= plan->written();
}

void StepCall::take_drop(PyObject* drop) {
  const char* function = function_;
  if (!is_instance(drop, python.dropout))
    raise_type_error(std::string(function) + ": drop must be a Dropout, not " + type_of(drop));
  const auto get = [&](PyObject* name) { return attribute(function, "drop", drop, name); };
  const bool training = to_flag(function, "drop.training", get(python.training).ptr());
  const double p = to_number(function, "drop.p", Range::zero_to_one, get(python.p).ptr());
  const auto seed = to_uint64(function, "drop.seed", get(python.seed).ptr());
  const auto offset = to_uint64(function, "drop.offset", get(python.offset).ptr());
  if (!training) return;
  drop_ = drop;
  drop_stream_.emplace(p, seed, offset);
  keep_scale_ = drop_stream_->keep_scale();
}

bool StepCall::take_state(const char* name, PyObject* interned_name, bool optional,
                          const PositionalReader& read) {
  pybind11::object& tree = held_[state_arrays_];
  tree = attribute(function_, "state", work_->groups[0].state, interned_name);
  if (optional && tree.is_none()) {
    read.check_not_needed(name);
    return false;
  }
  take({name, "state.", tree.ptr()}, Streams::first_state + state_arrays_, true);
  ++state_arrays_;
  return true;
}

void StepCall::collect(const Plan* plan) {
  const DropoutStream* drop = drop_stream_ ? &*drop_stream_ : nullptr;
  const Penalties* penalties = plan ? nullptr : &work_->groups[0].options.terms.penalties;
  const Arguments arguments{arguments_, count_, penalties, drop};
  if (!plan) return work_->list.collect(function_, arguments);
  work_->penalties.assign(plan->groups(), nullptr);
  for (std::size_t i = 0; i < work_->groups.size(); ++i)
    work_->penalties[work_->numbers[i]] = &work_->groups[i].options.terms.penalties;
  plan->collect(work_->list, arguments, work_->penalties);
}

bool StepCall::commit() {
  const ClipOptions& clip = shared().clip;
  if (clip.need_norms()) {
    measure_grads(shared().call.threads);
    if (clip.skip_nonfinite && work_->norms.nonfinite_entry >= 0) return false;
    clip_grads();
  }
  advance_counts();
  return true;
}

// All counts advance, or none does.
void StepCall::advance_counts() {
  std::size_t advanced = 0;
  const auto set = [&](PyObject* object, PyObject* name, std::uint64_t from, std::uint64_t by) {
    set_count(object, name, from + by);
    ++advanced;
  };
  const auto each = [&](const auto& visit) {
    if (drop_) visit(drop_, python.offset, drop_stream_->offset, work_->list.entries());
    if (counter_) visit(counter_, python.step_count, counted_, 1);
    for (const StepGroup& group : work_->groups)
      if (group.state) visit(group.state, python.step, group.step, 1);
  };
  try {
    each(set);
  } catch (pybind11::error_already_set&) {  // no memory, or a subclass that raises
    each([&](PyObject* object, PyObject* name, std::uint64_t from, std::uint64_t) {
      if (advanced > 0) {
        --advanced;
        set_count(object, name, from);
      }
    });
    throw;
  }
}

void StepCall::measure_grads(int threads) {
  constexpr int grads = 1;  // params and grads are the first arguments taken
  work_->grads.take_argument(function_, work_->list, grads, sum_chunk);
  work_->norms.measure(work_->grads, threads);
  const int entry = work_->norms.nonfinite_entry;  // counted in the order of params
  if (entry >= 0) nonfinite_ = pybind11::str("grads" + path_of_leaf(arguments_[0].tree, entry));
}

// Norms are those of the gradient as it is after grad_scale.
void StepCall::clip_grads() {
  const ClipOptions& clip = shared().clip;
  const double scale = std::fabs(shared().terms.grad_scale);
  if (clip.global()) clip_factor_ = clip_factor(clip.norm, scale * work_->norms.global, clip.eps);
  tensor_factors_ = clip.by_tensor();
  if (!tensor_factors_) return;
  work_->tensor_factors.clear();
  for (double norm : work_->norms.per_tensor)
    work_->tensor_factors.push_back(clip_factor(clip.tensor_norm, scale * norm, clip.eps));
}

void StepCall::launch() {
  if (work_->groups.empty()) return;  // all are frozen
  work_->updates.assign(work_->numbers.back() + 1, Update{});
  for (std::size_t i = 0; i < work_->groups.size(); ++i) {
    StepGroup& group = work_->groups[i];
    group.options.terms.take_shared(shared().terms);
    Update& update = work_->updates[work_->numbers[i]] = group.update;
    for (Dtype dtype : {Dtype::float32, Dtype::float64})
      update.scalars[int(dtype)] = group.scalars.at(dtype);
    update.terms = &group.options.terms;
    update.grad_scale = group.options.terms.signed_scale() * clip_factor_;
    update.keep_scale = keep_scale_;
    update.drop = drop_stream_ ? &*drop_stream_ : nullptr;
    update.tensor_factors = tensor_factors_ ? work_->tensor_factors.data() : nullptr;
    update.written = written_;
  }
  const CallOptions& call = shared().call;
  fastopt::launch(work_->list, work_->updates.data(), call.flush_denormals, call.threads);
}

pybind11::object StepCall::result(bool skipped) const {
  if (!shared().clip.need_norms()) return pybind11::none();
  const double norm = std::fabs(shared().terms.grad_scale) * work_->norms.global;
  return pybind11::handle(python.step_result)(skipped, norm, nonfinite_);
}

void StepCall::take(NamedTree tree, int stream, bool written) {
  arguments_[count_++] = {tree, stream, written};
  if (written) written_ |= 1u << stream;
}

}  // namespace fastopt
