// A public step function, made from a family of rules: reads and checks everything, then launches.
#pragma once
#include <array>
#include <optional>

#include "arrays.hpp"
#include "errors.hpp"
#include "launch.hpp"
#include "norm.hpp"
#include "option_reader.hpp"

namespace fastopt {

// What a step needs besides the stack. Reused, because a step on small arrays should not allocate.
struct Workspace {
  TensorList list, grads;
  Norms norms;
  std::vector<double> tensor_factors;
};

// The classes of Python that steps know: what they return, and what a user passes as `drop`.
void use_classes(pybind11::object step_result, pybind11::object dropout);

// The part of a step that depends on no rule. Python passes: the class of the state (None where the
// rule has no state), params, grads, state, the options of the rule, and a dict of all others.
class StepCall {
 public:
  StepCall(const char* function, PyObject* const* arguments, Py_ssize_t count);
  ~StepCall();
  StepCall(const StepCall&) = delete;
  StepCall& operator=(const StepCall&) = delete;

  PositionalReader read;

  // Takes the arrays that come with the options.
  void take_arrays(const StepOptions& options);

  // Takes the arrays that the state has under this name. Returns false if it has None, which is an
  // error unless they are `optional`.
  bool take_state(const char* name, PyObject* interned_name, bool optional);

  // Checks all arrays, measures the gradients if that is asked for, and counts the step. Nothing
  // fails after this. Returns false if the step is to be skipped.
  bool commit(const StepOptions& options);

  template <template <class> class Rule, class Options>
  void run(const Options& rule_options, const StepOptions& options) {
    const double t = static_cast<double>(step_);
    // Bias corrections take as long as a hundred elements: only for the dtypes that are there.
    std::optional<Rule<float>> float32;
    std::optional<Rule<double>> float64;
    if (work_->list.has(Dtype::float32)) float32.emplace(rule_options, t);
    if (work_->list.has(Dtype::float64)) float64.emplace(rule_options, t);
    double prox_lr = rule_options.lr;
    bool scaled_prox = false;
    if constexpr (has_metric<Rule<float>>) {
      scaled_prox = rule_options.scaled_prox;
      if (scaled_prox && float32) prox_lr = float32->metric_lr;
      if (scaled_prox && float64) prox_lr = float64->metric_lr;
    }
    launch_rule({rule_id<Rule>,
                 {float32 ? &*float32 : nullptr, float64 ? &*float64 : nullptr},
                 &options.terms,
                 rule_options.lr,
                 prox_lr,
                 scaled_prox},
                options.call);
  }

  // What Python gets: None, or what was found out about the gradients.
  pybind11::object result(const StepOptions& options, bool skipped) const;

 private:
  void take(NamedTree tree, int stream, bool written);
  void take_drop(PyObject* drop);
  void measure_grads(int threads);
  void clip_grads(const TermOptions& terms, const ClipOptions& clip);
  void advance_counts();
  void launch_rule(Update update, const CallOptions& call);

  PyObject* grads_;
  PyObject* state_;  // null where the rule has none
  PyObject* drop_ = nullptr;
  std::optional<DropoutStream> drop_stream_;
  long long step_ = 0;
  ArrayArgument arguments_[Streams::count];
  pybind11::object held_[Streams::max_states];
  int count_ = 0;
  int state_arrays_ = 0;
  unsigned written_ = 0;
  double grad_scale_ = 1, keep_scale_ = 1;
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
  static_assert(arrays.count <= Streams::max_states);
  static const auto interned = intern(arrays);

  StepCall call(Options::function, arguments, count);
  const Options rule_options(call.read);
  PyObject* keywords_dict = call.read.object();
  call.read.check_all_read();
  KeywordReader keywords(Options::function, keywords_dict);
  const StepOptions options(keywords);
  call.take_arrays(options);
  int variant = 0;
  for (int i = 0; i < arrays.count; ++i) {
    const bool optional = i >= arrays.required;
    const bool present = call.take_state(arrays.names[i], interned[i], optional);
    if (optional) variant = 2 * variant + present;
  }
  const bool go = call.commit(options);
  if (go) {
    using Run = void (StepCall::*)(const Options&, const StepOptions&);
    constexpr Run run[] = {&StepCall::run<Variant, Options>...};
    (call.*run[variant])(rule_options, options);
  }
  return call.result(options, !go);
}

}  // namespace fastopt
