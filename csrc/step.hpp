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
  for (int i = 0; i < arrays.count; ++i)
    names[i] = Object::made(PyUnicode_InternFromString(arrays.names[i])).release();
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
Object step(Family<Options, Variant...>, PyObject* const* arguments, Py_ssize_t count) {
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

  StepCall call(function, options, nullptr);
  StepGroup& group = call.add_group(function, 0, options.terms, arrays.count > 0 ? state : nullptr,
                                    reinterpret_cast<const PyTypeObject*>(state_class));
  call.take_arrays(params, grads);
  const Plan::StateNames names = state_names<Options>();
  int variant = 0;
  for (int i = 0; i < arrays.count; ++i) {
    const bool optional = i >= arrays.required;
    const bool present = call.take_state(names.names[i], names.interned[i], optional, read);
    if (optional) variant = 2 * variant + present;
  }
  call.collect(options.terms.penalties);
  const bool go = call.commit();
  if (go) {
    const bool has[] = {call.has(Dtype::float32), call.has(Dtype::float64)};
    set_rule<Options, Variant...>(group, variant, rule_options, has);
    call.launch();
  }
  return call.result(!go);
}

// Hands an object to Python, in a capsule of this name.
template <class T>
Object in_capsule(std::unique_ptr<T> object, const char* name) {
  const auto destroy = [](PyObject* capsule) {
    delete static_cast<T*>(PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)));
  };
  Object capsule = Object::made(PyCapsule_New(object.get(), name, destroy));
  object.release();
  return capsule;
}

template <class T>
T* from_capsule(PyObject* capsule, const char* name) {
  void* pointer = PyCapsule_GetPointer(capsule, name);
  if (!pointer) throw PythonError{};
  return static_cast<T*>(pointer);
}

constexpr const char* plan_name = "fastopt.Plan";

template <class Options, template <class> class... Variant>
Object make_plan(Family<Options, Variant...>, const std::string& function, PyObject* params,
                 const std::vector<int>& group_of_entry, PyObject* states, PyObject* ema,
                 PyObject* count) {
  return in_capsule(std::make_unique<Plan>(function, Object::borrow(params), group_of_entry, states,
                                           state_names<Options>(), ema, Object::borrow(count)),
                    plan_name);
}

// The step of an optimizer with options that were read once, for all steps until one is set.
template <class Options>
struct PreparedStep {
  struct Group {
    int number;
    Options rule;
    TermOptions terms;
  };

  static constexpr const char* name = Options::function;  // of its capsule

  Object plan_capsule, rows, shared_dict, cleared;  // what is held for the others here
  const Plan& plan;
  StepOptions shared;
  std::vector<Group> groups;  // that are not frozen
  GroupPenalties penalties;
  npy_int64* to_clear = nullptr;  // a count of what is used up by a step
};

// Reads the options of an optimizer: a tuple of groups, and a dict of what they share. A group is
// None where it is frozen, else a tuple of the options of the rule and a dict of its terms.
template <class Options, template <class> class... Variant>
Object prepare_step(Family<Options, Variant...>, PyObject* plan_capsule, PyObject* rows,
                    PyObject* shared_dict, PyObject* cleared) {
  const Plan& plan = *from_capsule<const Plan>(plan_capsule, plan_name);
  if (PyTuple_GET_SIZE(rows) != plan.groups())
    raise_type_error(std::string(plan.function()) + ": groups must be a tuple of all");
  using Prepared = PreparedStep<Options>;
  const StepOptions shared = read_options(plan.function(), shared_dict);
  std::unique_ptr<Prepared> prepared(new Prepared{Object::borrow(plan_capsule),
                                                  Object::borrow(rows),
                                                  Object::borrow(shared_dict),
                                                  Object::borrow(cleared),
                                                  plan,
                                                  shared,
                                                  {},
                                                  {}});
  prepared->penalties.resize(plan.groups());
  if (cleared != Py_None) prepared->to_clear = only_element(cleared);
  for (int g = 0; g < plan.groups(); ++g) {
    PyObject* row = PyTuple_GET_ITEM(rows, g);
    if (row == Py_None) continue;
    const Plan::Group& planned = plan.group(g);
    const char* function = planned.function.c_str();
    if (!PyTuple_Check(row)) raise_type_error(std::string(function) + " must be a tuple");
    PositionalReader read(function, &PyTuple_GET_ITEM(row, 0), PyTuple_GET_SIZE(row));
    const Options rule(read);
    TermOptions terms = read_terms(function, read.object());
    read.check_all_read();
    terms.take_shared(prepared->shared.terms);
    prepared->groups.push_back({g, rule, terms});
    prepared->penalties[g] = terms.penalties.values();
  }
  return in_capsule(std::move(prepared), Prepared::name);
}

// The step of an optimizer object: all its groups in one.
template <class Options, template <class> class... Variant>
Object run_prepared(Family<Options, Variant...>, PyObject* capsule, PyObject* grads) {
  using Prepared = PreparedStep<Options>;
  const auto& prepared = *from_capsule<const Prepared>(capsule, Prepared::name);
  const Plan& plan = prepared.plan;
  const Plan::Turn turn(plan, plan.function());
  StepCall call(plan.function(), prepared.shared, &plan);
  for (const auto& group : prepared.groups) {
    const Plan::Group& planned = plan.group(group.number);
    plan.check_state(group.number, state_names<Options>());
    call.add_group(planned.function.c_str(), group.number, group.terms, planned.state.ptr(),
                   planned.state_type);
  }
  call.take_arrays(plan.params(), grads);
  call.collect(prepared.penalties);
  const bool go = call.commit();
  if (go && prepared.to_clear) *prepared.to_clear = 0;
  if (go) {
    for (std::size_t i = 0; i < prepared.groups.size(); ++i) {
      const Plan::Group& planned = plan.group(prepared.groups[i].number);
      set_rule<Options, Variant...>(call.group(i), planned.variant, prepared.groups[i].rule,
                                    planned.has);
    }
    call.launch();
  }
  return call.result(!go);
}

// Checks the options of a group, which Python passes as the parts of its tuple after the name of
// the function.
template <class Options, template <class> class... Variant>
Object check_options(Family<Options, Variant...>, PyObject* const* arguments, Py_ssize_t count) {
  PositionalReader read_name(Options::function, arguments, count);
  const std::string function = text_of(read_name.object());
  PositionalReader read(function.c_str(), arguments + 1, count - 1);
  const Options rule_options(read);
  PyObject* terms = read.object();
  read.check_all_read();
  read_terms(function.c_str(), terms);
  return Object::none();
}

}  // namespace fastopt
