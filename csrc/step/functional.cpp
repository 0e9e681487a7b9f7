#include "functional.hpp"

#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "../python/errors.hpp"
#include "../python/numbers.hpp"
#include "names.hpp"
#include "step.hpp"

namespace fastopt {
namespace {

// The options that all steps share, as they were given.
struct StepOptions {
  double numbers[step_option_count];  // terms, then what is in Shared; 1 for objects that are given
  PyObject* objects[object_count];    // borrowed; null where not given
  PyObject* trees[term_count];        // of numbers, for penalties

  Shared shared() const { return as<Shared>(numbers + first_shared); }
  Terms terms() const { return as<Terms>(numbers); }

  template <class Numbers>
  static Numbers as(const double* from) {
    Numbers made;
    set_numbers(made, 0, from, sizeof made / sizeof(double));
    return made;
  }
};

StepOptions defaults() {
  StepOptions none{};
  for (int i = 0; i < step_option_count; ++i) none.numbers[i] = step_options[i].option.otherwise;
  return none;
}

int find_option(PyObject* key) {
  for (int i = 0; i < step_option_count; ++i)
    if (option_name(i) == key) return i;
  if (PyUnicode_Check(key))  // a string that is not interned
    for (int i = 0; i < step_option_count; ++i)
      if (PyUnicode_Compare(option_name(i), key) == 0) return i;
  return -1;
}

void read_options(const Rule& rule, PyObject* dict, StepOptions& to) {
  const char* function = function_of(rule);
  if (!PyDict_Check(dict))
    raise_type_error(std::string(function) + ": the options must be a dict, not " + type_of(dict));
  static const StepOptions none = defaults();
  to = none;
  if (PyDict_GET_SIZE(dict) == 0) return;
  PyObject *key, *value;
  PyObject* given[step_option_count] = {};
  for (Py_ssize_t position = 0; PyDict_Next(dict, &position, &key, &value);) {
    const int i = find_option(key);
    if (i < 0)
      raise_type_error(std::string(function) + "() got an unexpected keyword argument " +
                       repr_of(key) + instead_of(&rule, key));
    given[i] = value;
  }
  for (int i = 0; i < step_option_count; ++i) {  // in an order that is always the same
    if (!given[i]) continue;
    if (step_options[i].kind == Kind::penalty && is_container(given[i])) {
      to.trees[i] = given[i];  // looked into when the arrays are
    } else if (i >= first_object) {
      to.objects[i - first_object] = given[i] == Py_None ? nullptr : given[i];
    } else {
      to.numbers[i] = read_option(function, step_options[i], given[i]);
    }
  }
}

// The penalties where some of them are trees.
struct PenaltyTrees {
  PenaltyTree all[4];

  explicit PenaltyTrees(const StepOptions& options)
      : all{at(options, 0), at(options, 1), at(options, 2), at(options, 4)} {}

  const PenaltyTree* if_any() const {
    for (const PenaltyTree& penalty : all)
      if (penalty.tree) return all;
    return nullptr;
  }

 private:
  static PenaltyTree at(const StepOptions& options, int term) {
    return {step_options[term].option.name, options.numbers[term], options.trees[term]};
  }
};

// The slot of the count in a state. Of the class itself, which then stays for good, each thread
// looks for it once.
Slot slot_in(const Rule& rule, PyObject* state, PyObject* state_class) {
  struct Known {
    PyTypeObject* of = nullptr;
    Slot slot;
  };
  static_assert(std::is_trivially_destructible_v<Known>, "threads end without the GIL");
  thread_local Known known[Rule::most];
  Known& one = known[&rule - all_rules().begin()];
  PyTypeObject* type = Py_TYPE(state);
  if (type == one.of) return one.slot;
  const Slot slot = slot_of_step(function_of(rule), type);
  if (reinterpret_cast<PyObject*>(type) == state_class) {
    Py_INCREF(type);
    one = {type, slot};
  }
  return slot;
}

[[noreturn]] void raise_needed(const Rule& rule, const Option& option, double value) {
  raise_value_error(std::string(function_of(rule)) + ": " + option.name + "=" +
                    text_of(Object::made(PyFloat_FromDouble(value)).ptr()) + " needs state." +
                    option.needs + ", which is None; " + rule.name + "_init(params, " +
                    option.name + "=True) makes it");
}

}  // namespace

Object functional_step(const Rule& rule, PyObject* const* arguments, Py_ssize_t count) {
  const char* function = function_of(rule);
  const int expected = 4 + rule.options.count + 1;
  if (count != expected)
    raise_type_error(std::string(function) + ": too " + (count < expected ? "few" : "many") +
                     " arguments");
  PyObject *state_class = arguments[0], *params = arguments[1], *grads = arguments[2],
           *state = arguments[3];
  check_state_class(function, state, state_class);
  double rule_options[Rule::max_options];
  for (int i = 0; i < rule.options.count; ++i)
    rule_options[i] =
        to_number(function, rule.options[i].name, rule.options[i].range, arguments[4 + i]);
  StepOptions options;
  read_options(rule, arguments[expected - 1], options);

  Step step(function, rule, options.shared(), 1);
  StepGroup& group = step.group(0);
  std::copy_n(rule_options, rule.options.count, group.options);
  step.terms(0) = options.terms();
  step.set_ema_decay(0, options.shared().ema_decay);
  if (rule.parts() > 0) step.count_in(function, 0, state, slot_in(rule, state, state_class));
  step.take({params, grads, options.objects[mask], options.objects[drop],
             options.objects[update_mask], options.objects[ema]},
            nullptr);
  Object held[Rule::max_parts];
  int variant = 0;
  StateStreams next;
  for (int i = 0; i < rule.parts(); ++i) {
    const Rule::Part part = rule.part(i);
    held[i] = attribute(function, "state", state, part_names(rule)[i]);
    const bool is_there = !part.optional || !held[i].is_none();
    if (part.optional) variant = 2 * variant + is_there;
    if (is_there) step.take_state(part.name, next(part), held[i].ptr());
    for (int k = 0; !is_there && k < rule.options.count; ++k)
      if (rule.options[k].needs && rule.options[k].needs == std::string(part.name) &&
          rule_options[k] != 0)
        raise_needed(rule, rule.options[k], rule_options[k]);
  }
  group.variant = &rule.variants[variant];
  step.run(PenaltyTrees(options).if_any());
  return step.result();
}

Object advance_means(const char* function, const NamedTree& means, const NamedTree& values,
                     const Advance& advance) {
  const double decay = to_number(function, "beta2", Range::zero_to_below_1, advance.decay);
  Shared shared = defaults().shared();
  shared.skip_nonfinite = read_option(function, step_options[first_shared + shared_skip_nonfinite],
                                      advance.skip_nonfinite);
  shared.threads = advance.threads;

  const Rule& sgd = *find_rule("sgd");
  Step step(function, sgd, shared, 1);
  StepGroup& group = step.group(0);
  group.options[0] = 1 - decay;  // lr
  group.variant = &sgd.variants[0];
  Terms& terms = step.terms(0) = defaults().terms();
  terms.weight_decay = terms.maximize = 1;
  step.leave_out(advance.left_out);
  step.take(means, values);
  step.allow_large_squares();  // nothing is squared
  step.run(nullptr);
  return step.result();
}

}  // namespace fastopt
