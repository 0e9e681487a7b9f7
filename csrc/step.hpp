// The entry points for Python, made from a family of rules: they read options, hand over to
// StepCall what depends on no rule, and choose the rule.
#pragma once
#include <array>
#include <memory>
#include <string>
#include <utility>

#include "step_call.hpp"

namespace fastopt {

template <int Required, int Optional>
std::array<PyObject*, Required + Optional + 1> intern(
    const StateArrays<Required, Optional>& arrays) {
  std::array<PyObject*, Required + Optional + 1> names{};
  for (int i = 0; i < arrays.count; ++i) names[i] = PyUnicode_InternFromString(arrays.names[i]);
  return names;
}

template <class Options>
Plan::StateNames state_names() {
  static const auto interned = intern(Options::arrays);
  constexpr auto& arrays = Options::arrays;
  return {arrays.names, interned.data(), arrays.required, arrays.count};
}

template <class Options, template <class> class... Variant>
void set_rule(StepGroup& group, int variant, const Options& options, const bool* has) {
  static_assert(sizeof...(Variant) == 1 << Options::arrays.optional,
                "one rule for each combination");
  using Set = void (StepGroup::*)(const Options&, const bool*);
  constexpr Set set[] = {&StepGroup::set_rule<Variant, Options>...};
  (group.*set[variant])(options, has);
}

// A public step function. Python passes: the class of the state (None where the rule has no
// state), params, grads, state, the options of the rule, and a dict of all others.
template <class Options, template <class> class... Variant>
pybind11::object step(Family<Options, Variant...>, PyObject* const* arguments, Py_ssize_t count) {
  constexpr const char* function = Options::function;
  constexpr auto& arrays = Options::arrays;
  static_assert(arrays.count <= Streams::max_states);
  PositionalReader read(function, arguments, count);
  PyObject* state_class = read.object();
  PyObject* params = read.object();
  PyObject* grads = read.object();
  PyObject* state = read.object();
  check_class(function, state, state_class);
  const Options rule_options(read);
  PyObject* keywords_dict = read.object();
  read.check_all_read();
  const StepOptions options = read_options(function, keywords_dict);

  StepCall call(function);
  StepGroup& group = call.add_group(options, arrays.count > 0 ? state : nullptr);
  call.take_arrays(params, grads, nullptr);
  const Plan::StateNames names = state_names<Options>();
  int variant = 0;
  for (int i = 0; i < arrays.count; ++i) {
    const bool optional = i >= arrays.required;
    const bool present = call.take_state(names.names[i], names.interned[i], optional, read);
    if (optional) variant = 2 * variant + present;
  }
  call.collect(nullptr);
  const bool go = call.commit();
  if (go) {
    const bool has[] = {call.has(Dtype::float32), call.has(Dtype::float64)};
    set_rule<Options, Variant...>(group, variant, rule_options, has);
    call.launch();
  }
  return call.result(!go);
}

constexpr const char* plan_capsule = "fastopt.Plan";

template <class Options, template <class> class... Variant>
pybind11::capsule make_plan(Family<Options, Variant...>, const std::string& function,
                            const pybind11::object& params, const std::vector<int>& group_of_entry,
                            const pybind11::list& states, const pybind11::object& ema) {
  auto plan =
      std::make_unique<Plan>(function, params, group_of_entry, states, state_names<Options>(), ema);
  pybind11::capsule capsule(plan.get(), plan_capsule,
                            [](void* pointer) { delete static_cast<Plan*>(pointer); });
  plan.release();
  return capsule;
}

// The step of an optimizer object: all its groups in one. Python passes: the plan, the object whose
// `step_count` counts, params, grads, a tuple of groups, and a dict of the options that all groups
// share. A group is None where it is frozen, else the options of the rule and a dict of its terms.
template <class Options, template <class> class... Variant>
pybind11::object planned_step(Family<Options, Variant...>, PyObject* const* arguments,
                              Py_ssize_t count) {
  PositionalReader read(Options::function, arguments, count);
  const auto* plan = static_cast<const Plan*>(PyCapsule_GetPointer(read.object(), plan_capsule));
  if (!plan) throw pybind11::error_already_set();
  PyObject* counter = read.object();
  PyObject* params = read.object();
  PyObject* grads = read.object();
  PyObject* rows = read.object();
  PyObject* shared_dict = read.object();
  read.check_all_read();
  if (!PyTuple_Check(rows) || PyTuple_GET_SIZE(rows) != plan->groups())
    raise_type_error(std::string(plan->function()) + ": groups must be a tuple of all");

  const Plan::Turn turn(*plan);
  StepCall call(plan->function());
  const Plan::StateNames names = state_names<Options>();
  const StepOptions shared = read_options(plan->function(), shared_dict);
  call.share(shared);
  call.count_in(counter);
  for (int g = 0; g < plan->groups(); ++g) {
    PyObject* row = PyTuple_GET_ITEM(rows, g);
    if (row == Py_None) continue;
    const Plan::Group& planned = plan->group(g);
    const char* function = planned.function.c_str();
    if (!PyTuple_Check(row)) raise_type_error(std::string(function) + " must be a tuple");
    PositionalReader read_row(function, &PyTuple_GET_ITEM(row, 0), PyTuple_GET_SIZE(row));
    const Options rule_options(read_row);
    PyObject* terms = read_row.object();
    read_row.check_all_read();
    const StepOptions options = read_options(function, terms);
    StepGroup& group = call.add_group(function, g, options, planned.state.ptr());
    plan->check_state(g, names);
    for (int i = 0; i < names.count; ++i)
      if (planned.arrays[i].is_none()) read_row.check_not_needed(names.names[i]);
    set_rule<Options, Variant...>(group, planned.variant, rule_options, planned.has);
  }
  call.take_arrays(params, grads, plan);
  call.collect(plan);
  const bool go = call.commit();
  if (go) call.launch();
  return call.result(!go);
}

// Checks the options of a group, which Python passes as the parts of its tuple after the name of
// the function.
template <class Options, template <class> class... Variant>
pybind11::object check_options(Family<Options, Variant...>, PyObject* const* arguments,
                               Py_ssize_t count) {
  PositionalReader read_name(Options::function, arguments, count);
  const std::string function = text_of(read_name.object());
  PositionalReader read(function.c_str(), arguments + 1, count - 1);
  const Options rule_options(read);
  PyObject* terms = read.object();
  read.check_all_read();
  read_options(function.c_str(), terms);
  return pybind11::none();
}

}  // namespace fastopt
