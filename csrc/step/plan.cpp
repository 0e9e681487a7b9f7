#include "plan.hpp"

#include <algorithm>

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
  next_weights_.resize(groups_.size());
}

void Plan::note_groups() {
  const Rule& rule = *parts_.rule;
  for (std::size_t number = 0; number < parts_.groups.size(); ++number) {
    Group& group = groups_.emplace_back();
    group.function = step_function_;
    const std::string& place = parts_.groups[number].table->place();
    if (!place.empty()) group.function += ": " + place;
    PyObject* state = parts_.states.at(number).ptr();
    int variant = 0;
    if (rule.arrays.count > 0) group.step = slot_of_step(function(), Py_TYPE(state));
    for (int i = 0; i < rule.arrays.count; ++i) {
      group.slots[i] = Slot(Py_TYPE(state), array_names(rule)[i]);
      group.arrays[i] = attribute(function(), "state", state, array_names(rule)[i]);
      if (rule.arrays[i].optional) variant = 2 * variant + !group.arrays[i].is_none();
    }
    if (number > 0 && variant != variant_)
      raise_type_error(step_function_ + ": the states of all groups must have the same arrays");
    variant_ = variant;
  }
}

// The arrays of every state are tuples in the order of their group; here they are put in that of
// the entries, with None where a state has them not.
KnownArrays Plan::known_arrays() {
  const Rule& rule = *parts_.rule;
  const NamedTree params{"params", "", parts_.params.ptr()};
  Leaves leaves;
  leaves.read(function(), &params, 1);
  const int entries = leaves.entries();
  if (std::size_t(entries) != parts_.group_of_entry.size())
    raise_value_error(step_function_ + ": params changed while it was read");
  std::vector<Object> lists;
  std::vector<ArrayArgument> arguments;
  const auto add = [&](const NamedTree& name, int stream, bool optional) {
    lists.push_back(Object::made(PyList_New(entries)));
    arguments.push_back({name, stream, /*written*/ true, optional});
    arguments.back().tree.root = lists.back().ptr();
    return lists.back().ptr();
  };
  PyObject* list = add(params, Streams::param, false);
  for (int k = 0; k < entries; ++k) PyList_SET_ITEM(list, k, Py_NewRef(leaves.of(k)[0]));
  flat_params_ = lists[0];
  int stream = Streams::first_state;
  for (int i = 0; i < rule.arrays.count; ++i) {
    list = add({rule.arrays[i].name, "state."}, stream, true);
    std::vector<Py_ssize_t> next(groups_.size(), 0);
    for (int k = 0; k < entries; ++k) {
      const int number = parts_.group_of_entry[k];
      PyObject* arrays = groups_.at(number).arrays[i].ptr();
      const Py_ssize_t at = next[number]++;
      if (arrays != Py_None && (!PyTuple_Check(arrays) || at >= PyTuple_GET_SIZE(arrays)))
        raise_type_error(step_function_ + ": state." + rule.arrays[i].name +
                         " must be a tuple of all arrays");
      PyList_SET_ITEM(list, k,
                      Py_NewRef(arrays == Py_None ? arrays : PyTuple_GET_ITEM(arrays, at)));
    }
    if (groups_.empty() || groups_[0].arrays[i].is_none()) {  // then no group has it
      arguments.pop_back();
      lists.pop_back();
    } else {
      ++stream;
    }
  }
  if (!parts_.averages.is_none()) {
    arguments.push_back({{"ema", ""}, Streams::ema, true});
    arguments.back().tree.root = parts_.averages.ptr();
  }
  return KnownArrays(
      {function(), arguments.data(), static_cast<int>(arguments.size()), parts_.params.ptr()},
      parts_.group_of_entry);
}

Plan::Turn::Turn(const Plan& plan, const char* function) : plan_(plan) {
  if (plan.taken_.exchange(process) == process)
    raise_runtime_error(std::string(function) +
                        ": another call of the same optimizer is under way");
}

void Plan::Turn::end() {
  if (!ended_) plan_.taken_.store(0);
  ended_ = true;
}

void Plan::check_state(int number) const {
  const Rule& rule = *parts_.rule;
  const Group& group = groups_[number];
  PyObject* state = parts_.states[number].ptr();
  for (int i = 0; i < rule.arrays.count; ++i) {
    PyObject* expected = group.arrays[i].ptr();
    if (group.slots[i].peek(state) != expected &&
        attribute(function(), "state", state, array_names(rule)[i]).ptr() != expected)
      raise_value_error(group.function + ": state." + rule.arrays[i].name +
                        " is another object than when the optimizer was made; its arrays may be "
                        "changed in place, not replaced");
  }
}

bool Plan::is_frozen(int number) const {
  return parts_.groups[number].table->number(OptionTable::frozen) != 0;
}

void Plan::fill_group(int number, ScheduleValues& schedules, Step& step) const {
  const Rule& rule = *parts_.rule;
  const char* function = groups_[number].function.c_str();
  double numbers[OptionTable::first_of_rule + Rule::max_options + term_count];
  {
    const CriticalSection lock(parts_.groups[number].holder.ptr());
    parts_.groups[number].table->copy_numbers(function, schedules, numbers);
  }
  StepGroup& group = step.group(number);
  const double* of_rule = numbers + OptionTable::first_of_rule;
  std::copy_n(of_rule, rule.options.count, group.options);
  set_numbers(step.terms(number), 0, of_rule + rule.options.count, term_count);
  group.variant = &rule.variants[variant_];
  group.step = 0;
  if (rule.arrays.count == 0) return;
  check_state(number);
  step.count_in(function, number, parts_.states[number].ptr(), groups_[number].step);
}

// An average that starts at zero has the weight w = d*w + (1 - d) in it, which for a constant d is
// 1 - d^t, and is to be divided by it (Kingma & Ba 2015, section 3). An average that is divided at
// once goes on with the decay d*w_before/w, and needs no division later.
double Plan::debiased_decay(int number, double decay) {
  const double before = parts_.weights[number];
  const double weight = decay * before + (1 - decay);
  next_weights_[number] = weight;
  return weight > 0 ? decay * before / weight : decay;
}

Plan::SharedNow Plan::read_shared(const char* function, ScheduleValues& schedules) const {
  const CriticalSection lock(parts_.shared.holder.ptr());
  double numbers[OptionTable::all_count];
  parts_.shared.table->copy_numbers(function, schedules, numbers);
  SharedNow now{{},
                numbers[OptionTable::debias] != 0,
                numbers[OptionTable::averages_sums] != 0,
                Object::borrow(parts_.shared.table->given(OptionTable::drop))};
  set_numbers(now.shared, OptionTable::of_step, numbers, OptionTable::shared_numbers);
  return now;
}

Object Plan::step(const OfStep& given) {
  const Turn turn(*this, function());
  check_not_swapped(function());
  const bool of_sums = given.grads == Py_None;
  const long long sums = waiting();
  if (of_sums && sums == 0)
    raise_value_error(step_function_ + ": grads is None, and no gradients were accumulated");
  if (!of_sums && sums > 0)
    raise_value_error(step_function_ + ": " + std::to_string(sums) +
                      " accumulated gradients are waiting; step() without gradients takes them, "
                      "discard_accumulated() forgets them");

  ScheduleValues schedules(parts_.count.steps());
  SharedNow now = read_shared(function(), schedules);
  Shared& shared = now.shared;
  shared.grad_scale = read_option(function(), step_options[first_shared], given.grad_scale);
  shared.keep_prob = read_option(function(), step_options[first_shared + 1], given.keep_prob);
  PyObject* grads = given.grads;
  if (of_sums) {
    grads = sums_->tree.ptr();
    shared.zero_grads = 1;
    if (now.averages_sums) shared.grad_scale /= static_cast<double>(sums);
  }

  Step step(function(), *parts_.rule, shared, groups());
  const bool has_averages = known_->written() >> Streams::ema & 1;
  const bool debias = has_averages && now.debias;
  for (int number = 0; number < groups(); ++number) {
    if (is_frozen(number)) {
      step.freeze(number);
      next_weights_[number] = parts_.weights[number];
      continue;
    }
    fill_group(number, schedules, step);
    step.set_ema_decay(number,
                       debias ? debiased_decay(number, shared.ema_decay) : shared.ema_decay);
  }
  // Schedules were asked by now, and may have done anything.
  if (parts_.count.steps() != schedules.step())
    raise_runtime_error(step_function_ + ": a schedule has changed the count of steps");
  if (of_sums) check_frozen_as_before(function(), step);
  step.take({parts_.params.ptr(), grads, or_null(given.mask), or_null(now.drop.ptr()),
             or_null(given.update_mask), nullptr},
            &*known_);
  if (step.run(nullptr)) {
    ++parts_.count.count->steps;
    if (debias) parts_.weights = next_weights_;
  } else if (of_sums) {
    sums_->arrays.clear_params();  // what is not finite must not stay
  }
  if (of_sums) sums_->count = 0;
  return step.result();
}

std::vector<bool> Plan::frozen_in_sums() const {
  return sums_ ? sums_->frozen : std::vector<bool>(groups());
}

void Plan::use_sums(PyObject* tree, long long waiting, std::vector<bool> frozen) {
  frozen.resize(groups());
  ArrayArgument argument{{"params", "", tree}, Streams::param, true};
  sums_.reset(new Sums{Object::borrow(tree),
                       KnownArrays({function(), &argument, 1}, parts_.group_of_entry), waiting,
                       std::move(frozen)});
}

// How a step runs holds for it too; what it does to gradients comes when the sums are used.
Shared Plan::sum_options(const char* function) const {
  const CriticalSection lock(parts_.shared.holder.ptr());
  ScheduleValues schedules(parts_.count.steps());
  Shared shared{};
  shared.grad_scale = shared.keep_prob = 1;
  shared.clip_norm = shared.clip_tensor_norm = Terms::never;
  shared.ema_decay = Shared::not_given;
  const OptionTable& table = *parts_.shared.table;
  shared.threads = table.number_at(OptionTable::threads, function, schedules);
  shared.flush_denormals = table.number_at(OptionTable::flush_denormals, function, schedules);
  return shared;
}

void Plan::accumulate(PyObject* grads) {
  const char* function = sum_function_.c_str();
  const Turn turn(*this, function);
  check_not_swapped(function);
  if (!sums_) raise_runtime_error(std::string(function) + ": there is nothing to add to");
  Shared shared = sum_options(function);

  const Rule& sgd = *find_rule("sgd");
  Step step(function, sgd, shared, groups());
  for (int number = 0; number < groups(); ++number) {
    if (is_frozen(number)) {
      step.freeze(number);
      continue;
    }
    StepGroup& group = step.group(number);
    group.options[0] = 1;  // lr
    group.variant = &sgd.variants[0];
    group.step = 0;
    step.terms(number) = {};
    step.terms(number).maximize = 1;
    step.terms(number).clip_value = Terms::never;
  }
  if (sums_->count > 0) check_frozen_as_before(function, step);
  for (int number = 0; number < groups(); ++number) sums_->frozen[number] = step.is_frozen(number);
  step.take({sums_->tree.ptr(), grads, nullptr, nullptr, nullptr, nullptr}, &sums_->arrays);
  step.run(nullptr);
  ++sums_->count;
}

void Plan::discard_sums(const char* function) {
  const Turn turn(*this, function);
  if (!sums_) return;
  sums_->arrays.clear_params();
  sums_->count = 0;
}

// Sums of another selection of groups have another count.
void Plan::check_frozen_as_before(const char* function, const Step& step) const {
  for (int number = 0; number < groups(); ++number)
    if (step.is_frozen(number) != sums_->frozen[number])
      raise_value_error(
          std::string(function) + ": groups[" + std::to_string(number) + "] " +
          (step.is_frozen(number) ? "is frozen, and was not" : "is not frozen, and was") +
          " when gradients were accumulated; discard_accumulated() forgets them");
}

void Plan::check_not_swapped(const char* function) const {
  if (swapped_by_)
    raise_runtime_error(std::string(function) + ": the averages stand in place of the parameters");
}

void Plan::swap_in(const char* function, PyObject* token) {
  const Turn turn(*this, function);  // a step in another thread must not be under way
  check_not_swapped(function);
  swap(function, /*written*/ true);
  swapped_by_ = Object::borrow(token);
}

void Plan::swap_back(const char* function, PyObject* token) {
  if (swapped_by_.ptr() != token) return;
  swap(function, /*written*/ false);
  swapped_by_ = Object();
}

void Plan::swap(const char* function, bool written) {
  const ArrayArgument arguments[] = {{{"params", "", flat_params_.ptr()}, Streams::param, written},
                                     {{"ema", "", parts_.averages.ptr()}, Streams::ema, written}};
  Collection both;
  both.collect({function, arguments, 2, parts_.params.ptr()});
  swap_contents(both.tensors);
}

}  // namespace fastopt
