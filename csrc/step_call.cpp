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
  spare.emplace_back(work);
}

// Looked up at import: an import in the middle of a step could make threads wait for each other.
struct {
  PyObject *step_result, *dropout;
  PyObject *step, *p, *seed, *offset, *training;  // names of attributes
} python;

Object attribute(const char* function, const char* of, PyObject* object, PyObject* name) {
  PyObject* value = PyObject_GetAttr(object, name);
  if (!value) {
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) throw PythonError{};
    PyErr_Clear();
    raise_type_error(std::string(function) + ": " + of + " has no " + text_of(name));
  }
  return Object::steal(value);
}

struct StepCount {
  long long value;
  bool is_plain;  // an int, and nothing derived from it
};

StepCount read_step(const char* function, PyObject* state) {
  constexpr long long exact_in_double = 1LL << 53;
  const Object step = attribute(function, "state", state, python.step);
  const Object index =
      Object::steal(PyBool_Check(step.ptr()) ? nullptr : PyNumber_Index(step.ptr()));
  if (!index) {
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) throw PythonError{};
    PyErr_Clear();
    raise_type_error(std::string(function) + ": state.step must be an int, not " +
                     type_of(step.ptr()));
  }
  int overflow;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow || value < 0 || value >= exact_in_double)
    raise_value_error(std::string(function) + ": 0 <= state.step < 2**53 must hold, it is " +
                      repr_of(step.ptr()));
  return {value, PyLong_CheckExact(step.ptr()) != 0};
}

void set_count(PyObject* object, PyObject* name, std::uint64_t count) {
  const Object value = Object::made(PyLong_FromUnsignedLongLong(count));
  if (PyObject_SetAttr(object, name, value.ptr()) < 0) throw PythonError{};
}

}  // namespace

void use_classes(PyObject* step_result, PyObject* dropout) {
  const auto name = [](const char* text) {
    return Object::made(PyUnicode_InternFromString(text)).release();
  };
  python = {Py_NewRef(step_result), Py_NewRef(dropout), name("step"),    name("p"),
            name("seed"),           name("offset"),     name("training")};
}

void check_class(const char* function, PyObject* state, PyObject* wanted) {
  if (wanted == Py_None ? state == Py_None : is_instance(state, wanted)) return;
  const std::string name =
      wanted == Py_None ? "None, as the rule has no state"
                        : text_of(Object::made(PyObject_GetAttrString(wanted, "__name__")).ptr());
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
  return defaults;
}

TermOptions read_terms(const char* function, PyObject* dict) {
  const TermOptions terms = read_options(function, dict).terms;
  for (const Penalty& penalty : terms.penalties.at)
    if (penalty.tree)
      raise_type_error(std::string(function) + ": " + penalty.name + " must be a number, not " +
                       type_of(penalty.tree) + "; groups have numbers of their own");
  return terms;
}

StepGroup::StepGroup(const char* function, int group, const TermOptions& given,
                     PyObject* state_or_null, const PyTypeObject* state_type)
    : number(group), terms(&given), state(state_or_null) {
  if (!state) return;
  const StepCount count = read_step(function, state);
  step = count.value;
  counts_quietly = count.is_plain && Py_TYPE(state) == state_type;
}

StepCall::StepCall(const char* function, const StepOptions& shared, const Plan* plan)
    : function_(function), shared_(shared), plan_(plan), work_(take_workspace()) {}

StepCall::~StepCall() { give_back(work_); }

StepGroup& StepCall::add_group(const char* function, int number, const TermOptions& terms,
                               PyObject* state, const PyTypeObject* state_type) {
  return work_->groups.emplace_back(function, number, terms, state, state_type);
}

int StepCall::threads() const {
  return shared_.call.threads > 0 ? shared_.call.threads : get_num_threads();
}

void StepCall::take_arrays(PyObject* params, PyObject* grads) {
  const TermOptions& terms = shared_.terms;
  const CallOptions& call = shared_.call;
  const auto refuse = [&](const char* why) {
    raise_value_error(std::string(function_) + ": " + why);
  };
  take({"params", "", params}, Streams::param, true);
  take({"grads", "", grads}, Streams::grad, terms.zero_grads);
  if (call.mask) {
    take({"mask", "", call.mask}, Streams::mask, false);
    keep_scale_ = 1 / terms.keep_prob;
  } else if (terms.keep_prob != 1) {
    refuse("keep_prob needs a mask, which is None");
  }
  if (call.drop) take_drop(call.drop);
  if (call.mask && call.drop) refuse("mask and drop exclude each other");
  if (call.update_mask) take({"update_mask", "", call.update_mask}, Streams::update_mask, false);
  if (call.ema) take({"ema", "", call.ema}, Streams::ema, true);
  const bool has_ema = plan_ ? plan_->has_ema() : call.ema != nullptr;
  const bool has_decay = terms.ema_decay != TermOptions::not_given;
  if (has_ema && !has_decay) refuse("ema needs ema_decay, which is None");
  if (has_decay && !has_ema) refuse("ema_decay needs ema, which is None");
  if (shared_.clip.global() && shared_.clip.by_tensor())
    refuse("clip_norm and clip_tensor_norm exclude each other");
  if (plan_) written_ |= plan_->written();
}

void StepCall::take_drop(PyObject* drop) {
  const char* function = function_;
  if (!is_instance(drop, python.dropout))
    raise_type_error(std::string(function) + ": drop must be a Dropout, not " + type_of(drop));
  const auto get = [&](PyObject* name) { return attribute(function, "drop", drop, name); };
  const bool training = to_flag(function, "drop.training", get(python.training).ptr());
  const double p = to_number(function, "drop.p", Range::zero_to_one, get(python.p).ptr());
  const auto seed = to_uint64(function, "drop.seed", get(python.seed).ptr());
  const Object given_offset = get(python.offset);
  const auto offset = to_uint64(function, "drop.offset", given_offset.ptr());
  if (!training) return;
  drop_ = drop;
  drop_counts_quietly_ = PyLong_CheckExact(given_offset.ptr()) &&
                         reinterpret_cast<PyObject*>(Py_TYPE(drop)) == python.dropout;
  drop_stream_.emplace(p, seed, offset);
  keep_scale_ = drop_stream_->keep_scale();
}

bool StepCall::take_state(const char* name, PyObject* interned_name, bool optional,
                          const PositionalReader& read) {
  Object& tree = held_[state_arrays_];
  tree = attribute(function_, "state", work_->groups[0].state, interned_name);
  if (optional && tree.is_none()) {
    read.check_not_needed(name);
    return false;
  }
  take({name, "state.", tree.ptr()}, Streams::first_state + state_arrays_, true);
  ++state_arrays_;
  return true;
}

void StepCall::collect(const Penalties& penalties) {
  penalties_ = &penalties;
  collect_arrays();
}

void StepCall::collect(const GroupPenalties& penalties) {
  group_penalties_ = &penalties;
  collect_arrays();
}

void StepCall::collect_arrays() {
  const DropoutStream* drop = drop_stream_ ? &*drop_stream_ : nullptr;
  const Arguments all{arguments_, count_, penalties_, drop};
  plan_ ? plan_->collect(work_->list, all, *group_penalties_) : work_->list.collect(function_, all);
}

bool StepCall::commit() {
  const ClipOptions& clip = shared_.clip;
  if (clip.need_norms()) {
    measure_grads();
    if (clip.skip_nonfinite && nonfinite_entry_ >= 0) return false;
    clip_grads();
  }
  if (!work_->groups.empty()) work_->updates.resize(work_->groups.back().number + 1);
  advance_counts();
  if (plan_) plan_->count_step();
  return true;
}

// All counts advance, or none does.
void StepCall::advance_counts() {
  std::size_t advanced = 0;
  bool quietly = true;
  const auto each = [&](const auto& visit) {
    if (drop_)
      visit(drop_, python.offset, drop_stream_->offset, work_->list.entries(),
            drop_counts_quietly_);
    for (const StepGroup& group : work_->groups)
      if (group.state) visit(group.state, python.step, group.step, 1, group.counts_quietly);
  };
  try {
    each([&](PyObject* object, PyObject* name, std::uint64_t from, std::uint64_t by, bool quiet) {
      ++advanced;  // even if it raises, it may have been set
      set_count(object, name, from + by);
      quietly = quietly && quiet;
    });
    if (!quietly) check_again();
  } catch (...) {            // no memory, or a class of the user's that raises
    const ErrorAside first;  // which is the one to tell
    each([&](PyObject* object, PyObject* name, std::uint64_t from, std::uint64_t, bool) {
      if (advanced == 0) return;
      --advanced;
      try {
        set_count(object, name, from);
      } catch (const PythonError&) {
        PyErr_Clear();
      }
    });
    throw;
  }
}

// A class of the user's that has the count, or a number of the user's that was the count before,
// may have done anything to the arrays.
void StepCall::check_again() {
  const std::size_t tensors = work_->list.tensors.size();
  collect_arrays();
  if (work_->list.tensors.size() != tensors)  // which the norms of tensors have been counted by
    raise_value_error(std::string(function_) + ": an array has changed while its step was counted");
}

void StepCall::measure_grads() {
  constexpr int grads = 1;  // params and grads are the first arguments taken
  work_->grads.take_argument(work_->list, grads, sum_chunk);
  work_->norms.measure(work_->grads, threads());
  nonfinite_entry_ = work_->norms.nonfinite_entry;  // counted in the order of params
}

// Norms are those of the gradient as it is after grad_scale.
void StepCall::clip_grads() {
  const ClipOptions& clip = shared_.clip;
  const double scale = std::fabs(shared_.terms.grad_scale);
  if (clip.global()) clip_factor_ = clip_factor(clip.norm, scale * work_->norms.global, clip.eps);
  tensor_factors_ = clip.by_tensor();
  if (!tensor_factors_) return;
  work_->tensor_factors.clear();
  for (double norm : work_->norms.per_tensor)
    work_->tensor_factors.push_back(clip_factor(clip.tensor_norm, scale * norm, clip.eps));
}

void StepCall::launch() {
  if (work_->groups.empty()) return;  // all are frozen
  for (StepGroup& group : work_->groups) {
    Update& update = group.update;
    for (Dtype dtype : {Dtype::float32, Dtype::float64})
      update.scalars[int(dtype)] = group.scalars.at(dtype);
    update.terms = group.terms;
    update.grad_scale = group.terms->signed_scale() * clip_factor_;
    update.keep_scale = keep_scale_;
    update.drop = drop_stream_ ? &*drop_stream_ : nullptr;
    update.tensor_factors = tensor_factors_ ? work_->tensor_factors.data() : nullptr;
    update.written = written_;
    update.bare = update.is_bare();
    work_->updates[group.number] = update;
  }
  fastopt::launch(work_->list, work_->updates.data(), shared_.call.flush_denormals, threads());
}

Object StepCall::result(bool skipped) const {
  if (!shared_.clip.need_norms()) return Object::none();
  const double norm = std::fabs(shared_.terms.grad_scale) * work_->norms.global;
  Object nonfinite = Object::none();
  if (nonfinite_entry_ >= 0) {
    std::string name = "grads";
    try {
      name += path_of_leaf(arguments_[0].tree, nonfinite_entry_);
    } catch (const PythonError&) {  // such as params that changed: the step is made
      if (!PyErr_ExceptionMatches(PyExc_Exception)) throw;
      PyErr_Clear();
    }
    nonfinite = Object::made(PyUnicode_FromString(name.c_str()));
  }
  const Object grad_norm = Object::made(PyFloat_FromDouble(norm));
  return Object::made(PyObject_CallFunctionObjArgs(python.step_result, skipped ? Py_True : Py_False,
                                                   grad_norm.ptr(), nonfinite.ptr(), nullptr));
}

void StepCall::take(NamedTree tree, int stream, bool written) {
  arguments_[count_++] = {tree, stream, written};
  if (written) written_ |= 1u << stream;
}

}  // namespace fastopt
