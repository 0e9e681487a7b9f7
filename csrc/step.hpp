// A public step function, made from a family of rules: reads and checks everything, then launches.
#pragma once
#include <array>
#include <optional>

#include "arrays.hpp"
#include "clipping.hpp"
#include "errors.hpp"
#include "grad_terms.hpp"
#include "hyper_reader.hpp"
#include "launch.hpp"
#include "norm.hpp"

namespace fastopt {

// What a step needs besides the stack. Reused, because a step on small arrays should not allocate.
struct Workspace {
  TensorList list, grads;
  Norms norms;
  std::vector<double> tensor_factors;
};

// The part of a step that depends on no rule. Python passes positional arguments alone: the class
// of the state (None where the rule has no state), params, grads, state, the options of the rule,
// the options of all steps, mask, ema, flush_denormals, threads.
class StepCall {
 public:
  StepCall(const char* function, PyObject* const* arguments, Py_ssize_t count);
  ~StepCall();
  StepCall(const StepCall&) = delete;
  StepCall& operator=(const StepCall&) = delete;

  HyperReader read;

  // Reads what comes after the options: mask, ema, flush_denormals and threads.
  void read_rest(const TermOptions& terms);

  // Takes the arrays that the state has under this name. Returns false if it has None, which is an
  // error unless they are `optional`.
  bool take_state(const char* name, PyObject* interned_name, bool optional);

  // Checks all arrays, measures the gradients if that is asked for, and counts the step. Nothing
  // fails after this. Returns false if the step is to be skipped.
  bool commit(const TermOptions& terms, const ClipOptions& clip);

  template <template <class> class Rule, class Options>
  void run(const Options& options, const TermOptions& terms) {
    const double t = static_cast<double>(step_);
    // Bias corrections take as long as a hundred elements: only for the dtypes that are there.
    std::optional<StepScalars<Rule, float>> float32;
    std::optional<StepScalars<Rule, double>> float64;
    if (work_->list.has(Dtype::float32))
      float32.emplace(
          StepScalars<Rule, float>{{options, t}, {terms, options.lr}, terms.zero_grads});
    if (work_->list.has(Dtype::float64))
      float64.emplace(
          StepScalars<Rule, double>{{options, t}, {terms, options.lr}, terms.zero_grads});
    launch_rule(rule_id<Rule>, float32 ? &*float32 : nullptr, float64 ? &*float64 : nullptr, terms);
  }

  // What Python gets: None, or what was found out about the gradients.
  pybind11::object result(const ClipOptions& clip, const TermOptions& terms, bool skipped) const;

 private:
  void take(NamedTree tree, int stream, bool written);
  void measure_grads();
  void clip_grads(const TermOptions& terms, const ClipOptions& clip);
  void launch_rule(int rule, const void* float32, const void* float64, const TermOptions& terms);

  PyObject* state_;  // null where the rule has none
  long long step_ = 0;
  PyObject* grads_;
  ArrayArgument arguments_[Streams::count];
  pybind11::object held_[Streams::count];
  int count_ = 0;
  int state_arrays_ = 0;
  unsigned written_ = 0;
  bool masked_ = false, averaged_ = false, flush_denormals_ = false;
  int threads_ = 1;
  double grad_scale_ = 1;
  bool tensor_factors_ = false;
  Workspace* work_ = nullptr;
  pybind11::object nonfinite_ = pybind11::none();  // or the name of a gradient
};

template <int Required, int Optional>
std::array<PyObject*, Required + Optional + 1> intern(
    const StateArrays<Required, Optional>& arrays) {
  std::array<PyObject*, Required + Optional + 1> names{};
  for (int i = 0; i < arrays.count; ++i) names[i] = PyUnicode_InternFromString(arrays.names[i]);
  return names;
}

template <class Options, template <class> class... Variant>
pybind11::object step(Family<Options, Variant...>, PyObject* const* arguments, Py_ssize_t count) {
  constexpr auto& arrays = Options::arrays;
  static_assert(sizeof...(Variant) == 1 << arrays.optional, "one rule for each combination");
  static const auto interned = intern(arrays);

  StepCall call(Options::function, arguments, count);
  const Options options(call.read);
  const TermOptions terms(call.read);
  const ClipOptions clip(call.read);
  call.read_rest(terms);
  int variant = 0;
  for (int i = 0; i < arrays.count; ++i) {
    const bool optional = i >= arrays.required;
    const bool present = call.take_state(arrays.names[i], interned[i], optional);
    if (optional) variant = 2 * variant + present;
  }
  const bool go = call.commit(terms, clip);
  if (go) {
    using Run = void (StepCall::*)(const Options&, const TermOptions&);
    constexpr Run run[] = {&StepCall::run<Variant, Options>...};
    (call.*run[variant])(options, terms);
  }
  return call.result(clip, terms, !go);
}

}  // namespace fastopt
