#include "step.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "../arrays/known.hpp"
#include "../engine/launch.hpp"
#include "../python/errors.hpp"
#include "../python/gil.hpp"
#include "../python/numbers.hpp"
#include "names.hpp"

namespace fastopt {
namespace {

// Workspaces for reuse. A second one is in use only where checking the arguments of a step runs
// code of the user's (the comparison of dict keys) that makes a step itself.
thread_local std::vector<std::unique_ptr<Workspace>> spare;
thread_local std::size_t made = 0;  // how many there are
thread_local Told latest;

Workspace* take_workspace() {
  if (spare.empty()) {
    spare.reserve(++made);  // so that to give it back needs no memory
    return new Workspace;
  }
  Workspace* work = spare.back().release();
  spare.pop_back();
  return work;
}

void give_back(Workspace* work) {
  work->arrays.clear();
  work->gradients.list.clear();
  work->counts.clear();
  spare.emplace_back(work);
}

PyObject* step_result = nullptr;

Object attribute_of_drop(const char* function, PyObject* drop, const char* name) {
  return attribute(function, "drop", drop, Object::made(PyUnicode_InternFromString(name)).ptr());
}

Object made_result(bool skipped, double norm, const Object& nonfinite) {
  const Object grad_norm = Object::made(PyFloat_FromDouble(norm));
  return Object::made(PyObject_CallFunctionObjArgs(step_result, skipped ? Py_True : Py_False,
                                                   grad_norm.ptr(), nonfinite.ptr(), nullptr));
}

}  // namespace

const Told& told() { return latest; }

void use_result_class(PyObject* given) { step_result = Py_NewRef(given); }

Step::Step(const char* function, const Rule& rule, const Shared& shared, int groups)
    : function_(function), rule_(rule), shared_(shared), work_(take_workspace()) {
  try {
    work_->gradients.scale = {shared.grad_scale};
    work_->groups.resize(groups);
    work_->updates.resize(groups);
    work_->parts.resize(groups);
    work_->frozen.assign(groups, false);
    for (StepGroup& group : work_->groups) {
      group.state = group.steps = nullptr;
      group.step = 0;
      group.ema_weight = 0;
    }
  } catch (...) {
    give_back(work_);
    throw;
  }
}

Step::~Step() { give_back(work_); }

void Step::count_in(const char* function, int number, PyObject* state, Slot slot) {
  StepGroup& group = work_->groups[number];
  group.state = state;
  group.steps = work_->counts.add_step(function, state, slot, group.step);
}

int Step::threads() const {
  return shared_.threads > 0 ? static_cast<int>(shared_.threads) : get_num_threads();
}

void Step::take(const Given& given, const KnownArrays* known) {
  known_ = known;
  written_ = known ? known->written() : 0;
  if (StepGroup& group = work_->groups[0]; !known && group.steps)
    group.steps = work_->counts.spelled_out(group.state);
  add({"params", "", given.params}, Streams::param, true);
  add({"grads", "", given.grads}, Streams::grad, shared_.zero_grads != 0);
  if (given.mask) {
    add({"mask", "", given.mask}, Streams::mask, false, /*optional*/ true);
    keep_scale_ = 1 / shared_.keep_prob;
  }
  if (given.drop) take_drop(given.drop);
  if (given.update_mask)
    add({"update_mask", "", given.update_mask}, Streams::update_mask, false, /*optional*/ true);
  if (known)
    averages_ = given.ema;
  else if (given.ema)
    add({"ema", "", given.ema}, Streams::ema, true);
  const bool has_ema = written_ >> Streams::ema & 1;
  const std::string why = why_not_together(
      shared_, {given.mask != nullptr, given.drop != nullptr, has_ema}, /*none=*/"None");
  if (!why.empty()) raise_value_error(std::string(function_) + ": " + why);
}

void Step::take(const NamedTree& params, const NamedTree& grads) {
  add(params, Streams::param, true);
  add(grads, Streams::grad, false);
}

void Step::take_drop(PyObject* drop) {
  check_dropout_class(function_, drop);
  const auto get = [&](const char* name) { return attribute_of_drop(function_, drop, name); };
  const bool training = to_flag(function_, "drop.training", get("training").ptr());
  const double p = to_number(function_, "drop.p", Range::zero_to_one, get("p").ptr());
  const auto seed = to_uint64(function_, "drop.seed", get("seed").ptr());
  if (!training) {
    to_uint64(function_, "drop.offset", get("offset").ptr());
    return;
  }
  drop_.emplace(p, seed, work_->counts.add_offset(function_, drop));
  keep_scale_ = drop_->keep_scale();
}

void Step::take_state(const char* name, int stream, PyObject* tree) {
  add({name, "state.", tree}, stream, true);
}

void Step::add(NamedTree tree, int stream, bool written, bool optional) {
  arguments_[count_++] = {tree, stream, written, optional};
  if (written) written_ |= 1u << stream;
}

bool Step::run(const PenaltyTree* penalties) {
  Collection& arrays = work_->arrays;
  const Arguments given{function_,     arguments_, count_,
                        nullptr,       penalties,  drop_ ? &*drop_ : nullptr,
                        block_size,    known_,     work_->frozen.data(),
                        averages_,     this,       known_ ? nullptr : work_->groups[0].steps,
                        rule_.matrices};
  arrays.collect(given);
  check_numbers(/*own_penalties*/ penalties != nullptr);
  if (shared_.need_norms() && !measure(given)) {
    skip();
    return false;
  }
  fold();
  work_->room.make_for(arrays.tensors, work_->updates.data());
  Object of_matrices;
  if (!work_->room.stacks.empty()) of_matrices = make_orthogonal();
  if (drop_) work_->counts.set_offset(drop_->offset + std::uint64_t(arrays.entries()));
  work_->counts.advance();
  // Nothing fails from here on, nor does code of the user's run.
  latest = {threads(), shared_.flush_denormals != 0, arrays.entries(), arrays.glances()};
  {
    const WithoutGil released(arrays.tensors.elements >= release_threshold);
    launch(arrays.tensors, work_->updates.data(), latest.flush_denormals, latest.threads,
           work_->room);
  }
  if (of_matrices) keep_memory(of_matrices);
  return true;
}

// Returns false if the step is to be skipped.
bool Step::measure(const Arguments& given) {
  Gradients& gradients = work_->gradients;
  work_->arrays.take_gradients(given, sum_chunk, gradients.list);
  const WithoutGil released(gradients.list.elements >= release_threshold);
  skipped_ = !gradients.measure(shared_, work_->arrays.tensors, work_->updates.data(), keep_scale_,
                                given.drop, threads(), refuses_large_squares_);
  return !skipped_;
}

// What is not finite must not stay in gradients that a step is to clear.
void Step::skip() {
  if (shared_.skip_nonfinite == Shared::raises) raise_nonfinite();
  if (shared_.zero_grads == 0) return;
  const WithoutGil released(work_->arrays.tensors.elements >= release_threshold);
  clear_gradients(work_->arrays.tensors, threads());
}

void Step::raise_nonfinite() const {
  const Gradients& gradients = work_->gradients;
  const bool too_large = gradients.norms.nonfinite_entry < 0;
  const std::string what =
      std::string(function_) + ": " + arguments_[1].tree.name +
      path_of_leaf(arguments_[0].tree, gradients.nonfinite_entry()) +
      (too_large ? " has a number that is too large to be squared" : " is not finite");
  PyErr_SetString(PyExc_FloatingPointError, what.c_str());
  throw PythonError{};
}

void Step::fold() {
  const StepScale common{shared_, work_->gradients, keep_scale_, drop_ ? &*drop_ : nullptr,
                         written_};
  for (std::size_t number = 0; number < work_->parts.size(); ++number) {
    StepPart& part = work_->parts[number];
    if (!part.used) continue;
    StepGroup& group = work_->groups[part.group];
    Update& update = work_->updates[number];
    if (debiases_) update.ema_decay = debiased_decay(part, update.ema_decay);
    prepare(update, group.variant, common);
    update.fold(rule_, group.options, static_cast<double>(part.step + 1), work_->arrays.has());
    update.note_what_is_absent();
  }
}

// An average that starts at zero has the weight w = d*w + (1 - d) in it, which for a constant d is
// 1 - d^t, and is to be divided by it (Kingma & Ba 2015, section 3). An average that is divided at
// once goes on with the decay d*w_before/w, and needs no division later.
double Step::debiased_decay(StepPart& part, double decay) {
  const double before = part.ema_weight;
  part.ema_weight = decay * before + (1 - decay);
  return part.ema_weight > 0 ? decay * before / part.ema_weight : decay;
}

Object Step::result() const {
  if (!shared_.need_norms()) return Object::none();
  const Gradients& gradients = work_->gradients;
  const double norm = gradients.norm(shared_);
  Object nonfinite = Object::none();
  if (gradients.nonfinite_entry() >= 0) {
    std::string name = arguments_[1].tree.name;
    try {
      name += path_of_leaf(arguments_[0].tree, gradients.nonfinite_entry());
    } catch (const PythonError&) {  // such as params that changed: the step is made
      if (!PyErr_ExceptionMatches(PyExc_Exception)) throw;
      PyErr_Clear();
    }
    nonfinite = Object::made(PyUnicode_FromString(name.c_str()));
  }
  return made_result(skipped_, norm, nonfinite);
}

Object result_without_gradients() {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  return made_result(/*skipped*/ true, nan, Object::made(PyUnicode_FromString("grads")));
}

}  // namespace fastopt
