#include "plan.hpp"

#include <algorithm>
#include <utility>

#ifndef _WIN32
#include <pthread.h>
#endif

#include "../engine/passes/swap.hpp"
#include "../python/errors.hpp"
#include "../python/gil.hpp"
#include "names.hpp"

namespace fastopt {
namespace {

// Counts the forks that led here, from 1.
std::atomic<int> process{1};

void count_forks() {
#ifndef _WIN32
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { process.fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(registered);
#endif
}

PyObject* or_null(PyObject* object) { return object == Py_None ? nullptr : object; }

}  // namespace

Plan::Plan(Parts parts)
    : parts_(std::move(parts)),
      step_function_(parts_.owner + ".step"),
      sum_function_(parts_.owner + ".accumulate") {
  count_forks();
  if (!parts_.averages.is_none())
    parts_.averages = Object::made(PySequence_List(parts_.averages.ptr()));
  note_groups();
  known_.emplace(known_arrays());
  set_ema_weights(std::move(parts_.ema_weights));
}

void Plan::note_groups() {
  const Rule& rule = *parts_.rule;
  groups_.reserve(parts_.groups.size());
  for (std::size_t number = 0; number < parts_.groups.size(); ++number) {
    Group& group = groups_.emplace_back();
    group.function = step_function_;
    const std::string& place = parts_.groups[number].table->place();
    if (!place.empty()) group.function += ": " + place;
    PyObject* state = parts_.states.at(number).ptr();
    int variant = 0;
    if (rule.parts() > 0) group.step = slot_of_step(function(), Py_TYPE(state));
    for (int i = 0; i < rule.parts(); ++i) {
      group.slots[i] = Slot(Py_TYPE(state), part_names(rule)[i]);
      group.arrays[i] = attribute(function(), "state", state, part_names(rule)[i]);
      if (rule.part(i).optional) variant = 2 * variant + !group.arrays[i].is_none();
    }
    group.variant = &rule.variants[variant];
  }
  for (std::size_t entry = 0; entry < parts_.group_of_entry.size(); ++entry) {
    Group& group = groups_.at(parts_.group_of_entry[entry]);
    if (group.entries++ == 0) group.first_entry = static_cast<int>(entry);
  }
}

// Array number `place` of a group, of those that the state has under one name: a tuple in the order
// of the group, or the array where it is the only one.
PyObject* Plan::array_of(const Group& group, int i, int place) const {
  PyObject* arrays = group.arrays[i].ptr();
  if (arrays == Py_None) return arrays;
  if (group.entries == 1 && !PyTuple_Check(arrays)) return arrays;
  if (PyTuple_Check(arrays) && PyTuple_GET_SIZE(arrays) == group.entries)
    return PyTuple_GET_ITEM(arrays, place);
  raise_type_error(parts_.owner + ": state." + parts_.rule->part(i).name +
                   " must be a tuple of all arrays of the group");
}

// The arrays of the states, put in the order of the entries, with None where a state has them not.
KnownArrays Plan::known_arrays() {
  const Rule& rule = *parts_.rule;
  const char* owner = parts_.owner.c_str();
  const NamedTree params{"params", "", parts_.params.ptr()};
  Leaves leaves;
  leaves.read(owner, &params, 1);
  const int entries = leaves.entries();
  if (std::size_t(entries) != parts_.group_of_entry.size())
    raise_value_error(parts_.owner + ": params changed while it was read");
  std::vector<Object> lists;
  std::vector<ArrayArgument> arguments;
  const auto add = [&](const NamedTree& name, int stream) {
    lists.push_back(Object::made(PyList_New(entries)));
    arguments.push_back({name, stream, /*written*/ true});
    arguments.back().tree.root = lists.back().ptr();
    return lists.back().ptr();
  };
  PyObject* list = add(params, Streams::param);
  for (int k = 0; k < entries; ++k) PyList_SET_ITEM(list, k, Py_NewRef(leaves.of(k)[0]));
  flat_params_ = lists[0];
  StateStreams next_stream;
  for (int i = 0; i < rule.parts(); ++i) {
    const auto has_it = [i](const Group& group) { return !group.arrays[i].is_none(); };
    if (!std::any_of(groups_.begin(), groups_.end(), has_it)) continue;
    list = add({rule.part(i).name, "state."}, next_stream(rule.part(i)));
    arguments.back().optional = rule.part(i).optional;
    std::vector<int> next(groups_.size(), 0);
    for (int k = 0; k < entries; ++k) {
      const int number = parts_.group_of_entry[k];
      PyList_SET_ITEM(list, k, Py_NewRef(array_of(groups_[number], i, next[number]++)));
    }
  }
  if (!parts_.averages.is_none()) {
    arguments.push_back({{"ema", ""}, Streams::ema, true});
    arguments.back().tree.root = parts_.averages.ptr();
  }
  return KnownArrays(
      {owner, arguments.data(), static_cast<int>(arguments.size()), parts_.params.ptr()},
      parts_.group_of_entry);
}

Plan::Turn::Turn(const Plan& plan, const char* function) : plan_(plan) {
  if (plan.parts_.count.count->taken.exchange(process) == process)
    raise_runtime_error(std::string(function) +
                        ": another call of the same optimizer is under way");
}

void Plan::Turn::end() {
  if (!ended_) plan_.parts_.count.count->taken.store(0);
  ended_ = true;
}

void Plan::check_state(int number) const {
  const Rule& rule = *parts_.rule;
  const Group& group = groups_[number];
  PyObject* state = parts_.states[number].ptr();
  for (int i = 0; i < rule.parts(); ++i) {
    PyObject* expected = group.arrays[i].ptr();
    if (group.slots[i].peek(state) != expected &&
        attribute(function(), "state", state, part_names(rule)[i]).ptr() != expected)
      raise_value_error(group.function + ": state." + rule.part(i).name +
                        " is another object than when the optimizer was made; its arrays may be "
                        "changed in place, not replaced");
  }
}

bool Plan::is_frozen(int number) const {
  return parts_.groups[number].table->number(OptionTable::frozen) != 0;
}

void Plan::fill_group(int number, const Overrides& overrides, ScheduleValues& schedules,
                      Step& step) const {
  const Rule& rule = *parts_.rule;
  const char* function = groups_[number].function.c_str();
  double numbers[OptionTable::first_of_rule + Rule::max_options + term_count];
  {
    const CriticalSection lock(parts_.groups[number].holder.ptr());
    parts_.groups[number].table->copy_numbers(function, schedules, overrides.of_groups, numbers);
  }
  StepGroup& group = step.group(number);
  const double* of_rule = numbers + OptionTable::first_of_rule;
  std::copy_n(of_rule, rule.options.count, group.options);
  set_numbers(step.terms(number), 0, of_rule + rule.options.count, term_count);
  group.variant = groups_[number].variant;
  if (rule.parts() == 0) return;
  check_state(number);
  step.count_in(function, number, parts_.states[number].ptr(), groups_[number].step);
}

// An option is one of the groups, for all of which the number then holds, or a shared one.
Plan::Overrides Plan::read_overrides(PyObject* options) const {
  Overrides overrides;
  PyObject *key, *value;
  for (Py_ssize_t position = 0; PyDict_Next(options, &position, &key, &value);) {
    const OptionTable& shared = *parts_.shared.table;
    const OptionTable& of_group = groups() > 0 ? *parts_.groups[0].table : shared;
    const bool is_of_group = shared.find(key) < 0;
    (is_of_group ? of_group : shared)
        .read_for_step(function(), key, value,
                       is_of_group ? overrides.of_groups : overrides.shared);
  }
  return overrides;
}

Plan::SharedNow Plan::read_shared(const Overrides& overrides, ScheduleValues& schedules) const {
  const CriticalSection lock(parts_.shared.holder.ptr());
  double numbers[OptionTable::all_count];
  parts_.shared.table->copy_numbers(function(), schedules, overrides.shared, numbers);
  SharedNow now{{},
                numbers[OptionTable::debias] != 0,
                numbers[OptionTable::averages_sums] != 0,
                Object::borrow(parts_.shared.table->given(OptionTable::drop))};
  set_numbers(now.shared, OptionTable::of_step, numbers, OptionTable::shared_numbers);
  return now;
}

Object Plan::step(const StepArguments& arguments) {
  const Turn turn(*this, function());
  return step_in_turn(arguments);
}

Object Plan::step_in_turn(const StepArguments& arguments) {
  check_not_swapped(function());
  if (arguments.params == Py_None) return make_step(arguments);
  if (!has(arguments.params)) return Object::borrow(Py_NotImplemented);
  // It may be another tree with the same arrays, whose later changes are those that count.
  const Object before = std::exchange(parts_.params, Object::borrow(arguments.params));
  try {
    return make_step(arguments);
  } catch (...) {
    parts_.params = before;
    throw;
  }
}

Object Plan::make_step(const StepArguments& arguments) {
  const bool of_sums = arguments.grads == Py_None;
  if (of_sums && waiting() == 0 && sums_ && sums_->added.skipped > 0) {
    sums_->added.skipped = 0;
    return result_without_gradients();
  }
  check_what_waits(of_sums);
  const Overrides overrides = read_overrides(arguments.options);
  ScheduleValues schedules(parts_.count.steps());
  SharedNow now = read_shared(overrides, schedules);
  Shared& shared = now.shared;
  shared.grad_scale = read_option(function(), step_options[first_shared], arguments.grad_scale);
  shared.keep_prob = read_option(function(), step_options[first_shared + 1], arguments.keep_prob);
  if (of_sums) {
    shared.zero_grads = 1;
    if (now.averages_sums) shared.grad_scale /= sums_->added.weight;
  }
  if (has_averages() != (shared.ema_decay != Shared::not_given))
    raise_value_error(step_function_ + ": whether there is an ema_decay is fixed when it is made");
  const bool debias = has_averages() && now.debias;

  Step step(function(), *parts_.rule, shared, groups());
  fill_groups(overrides, schedules, shared.ema_decay, step);
  if (debias) debias_averages(step);
  // Schedules were asked by now, and may have done anything.
  if (parts_.count.steps() != schedules.step())
    raise_runtime_error(step_function_ + ": a schedule has changed the count of steps");
  leave_out(of_sums, step);
  step.take(
      {parts_.params.ptr(), of_sums ? sums_->tree.ptr() : arguments.grads, or_null(arguments.mask),
       or_null(now.drop.ptr()), or_null(arguments.update_mask), or_null(parts_.average_tree.ptr())},
      &*known_);
  if (step.run(nullptr)) {
    ++parts_.count.count->steps;
    if (debias) note_ema_weights(step);
  }
  if (of_sums) clear_added();
  if (sums_) sums_->added.skipped = 0;  // of gradients that this step has taken the place of
  return step.result();
}

void Plan::check_what_waits(bool of_sums) const {
  if (of_sums && waiting() == 0)
    raise_value_error(step_function_ + ": grads is None, and no gradients were accumulated");
  if (!of_sums && waiting() > 0)
    raise_value_error(step_function_ + ": " + std::to_string(waiting()) +
                      " accumulated gradients are waiting; step() without gradients takes them, "
                      "discard_accumulated() forgets them");
}

void Plan::fill_groups(const Overrides& overrides, ScheduleValues& schedules, double ema_decay,
                       Step& step) const {
  for (int number = 0; number < groups(); ++number) {
    if (is_frozen(number)) {
      step.freeze(number);
    } else {
      fill_group(number, overrides, schedules, step);
      step.set_ema_decay(number, ema_decay);
    }
  }
}

void Plan::debias_averages(Step& step) const {
  step.debias(ema_weights_differ_ ? parts_.ema_weights.data() : nullptr);
  for (int number = 0; number < groups(); ++number)
    if (groups_[number].entries > 0)
      step.group(number).ema_weight = parts_.ema_weights[groups_[number].first_entry];
}

// Entries that are frozen, and in a step of sums those that never had a gradient.
void Plan::leave_out(bool of_sums, Step& step) {
  if (of_sums) {
    check_frozen_as_before(function(), step);
    left_out_ = frozen_;
    left_out_.resize(parts_.group_of_entry.size());
    for (std::size_t entry = 0; entry < left_out_.size(); ++entry)
      if (!sums_->added.has[entry]) left_out_[entry] = 1;
  }
  const std::vector<unsigned char>& entries = of_sums ? left_out_ : frozen_;
  step.leave_out(entries);
}

void Plan::set_ema_weights(std::vector<double> weights) {
  weights.resize(parts_.group_of_entry.size());
  parts_.ema_weights = std::move(weights);
  ema_weights_differ_ = false;
  for (std::size_t entry = 0; entry < parts_.ema_weights.size(); ++entry) {
    const Group& group = groups_[parts_.group_of_entry[entry]];
    if (parts_.ema_weights[entry] != parts_.ema_weights[group.first_entry])
      ema_weights_differ_ = true;
  }
}

void Plan::note_ema_weights(const Step& step) {
  for (std::size_t entry = 0; entry < parts_.ema_weights.size(); ++entry) {
    const int number = static_cast<int>(entry), group = parts_.group_of_entry[entry];
    if (step.took_part(number, group))
      parts_.ema_weights[entry] = step.ema_weight_of(number, group);
  }
  if (step.is_divided()) set_ema_weights(std::move(parts_.ema_weights));
}

void Plan::set_frozen(std::vector<unsigned char> entries) {
  const bool any = std::any_of(entries.begin(), entries.end(), [](int flag) { return flag != 0; });
  frozen_ = any ? std::move(entries) : std::vector<unsigned char>{};
  if (any) frozen_.resize(parts_.group_of_entry.size());
}

bool Plan::has(PyObject* params) {
  const NamedTree trees[] = {{"params", "", params}, {"params", "", parts_.params.ptr()}};
  const bool is_same_tree = params == parts_.params.ptr();
  const auto are_all_known = [&](int tree) {
    bool same = given_params_.entries() == known_->entries();
    for (int entry = 0; same && entry < known_->entries(); ++entry)
      same = known_->has_param(entry, given_params_.of(entry)[tree]);
    return same;
  };
  try {
    // In the order of the given tree, where the same keys must lead to the same arrays.
    given_params_.read(function(), trees, is_same_tree ? 1 : 2);
  } catch (const PythonError&) {  // of another structure
    if (!PyErr_ExceptionMatches(PyExc_Exception)) throw;
    PyErr_Clear();
    given_params_.clear();
    return false;
  }
  const bool same = are_all_known(0) && (is_same_tree || are_all_known(1));
  given_params_.clear();
  return same;
}

void Plan::check_not_swapped(const char* function) const {
  if (swapped_by_)
    raise_runtime_error(std::string(function) + ": " + swapped_what_ +
                        " stand in place of the parameters");
}

void Plan::swap_in(const char* function, PyObject* token, PyObject* arrays, std::string what) {
  check_not_swapped(function);
  swapped_arrays_ = Object::made(PySequence_List(arrays));
  swapped_what_ = std::move(what);
  swap(function, flat_params_.ptr(), swapped_arrays_.ptr(), /*written*/ true);
  swapped_by_ = Object::borrow(token);
}

void Plan::swap_back(const char* function, PyObject* token) {
  if (swapped_by_.ptr() != token) return;
  swapped_by_ = Object();
  const Object arrays = std::move(swapped_arrays_);
  const auto swapped = [&](PyObject* params, PyObject* others) {
    try {
      swap(function, params, others, /*written*/ false);
    } catch (const PythonError&) {
      if (!PyErr_ExceptionMatches(PyExc_Exception)) throw;
      PyErr_Clear();
      return false;
    }
    return true;
  };
  if (swapped(flat_params_.ptr(), arrays.ptr())) return;
  int changed = -1;
  for (int i = 0; i < PyList_GET_SIZE(arrays.ptr()); ++i)
    if (!swapped(PyList_GET_ITEM(flat_params_.ptr(), i), PyList_GET_ITEM(arrays.ptr(), i)))
      changed = changed < 0 ? i : changed;
  if (changed >= 0)
    raise_value_error(std::string(function) + ": params" +
                      path_of_leaf({"params", "", parts_.params.ptr()}, changed) +
                      " has another shape or dtype than where the block began, and keeps what is "
                      "in it; all others have what they had");
}

void Plan::swap(const char* function, PyObject* params, PyObject* others, bool written) {
  const ArrayArgument arguments[] = {{{"params", "", params}, Streams::param, written},
                                     {{"others", "", others}, Streams::ema, written}};
  const bool all = params == flat_params_.ptr();
  Collection both;
  both.collect({function, arguments, 2, all ? parts_.params.ptr() : nullptr});
  swap_contents(both.tensors);
}

}  // namespace fastopt
