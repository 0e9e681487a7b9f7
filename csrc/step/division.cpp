// How a step is divided into parts: where some arrays of a group have no gradient, they are left
// out and their count stays behind, so that from then on the rule is folded for each count.
#include <algorithm>

#include "../arrays/known.hpp"
#include "../arrays/tree_like.hpp"
#include "../python/errors.hpp"
#include "../python/numbers.hpp"
#include "step.hpp"

namespace fastopt {

// The counts of one group, as a step goes through its arrays.
struct Step::Tally {
  bool counts = false;                // whether there is a state that does
  PyObject* const* before = nullptr;  // what each array has seen, where that differs in a tuple
  PyObject* latest = nullptr;         // what the latest one has,
  long long step = 0;                 // as a number,
  int part = -1;                      // its part, if it was looked for,
  Object next;                        // and the number after, if it was needed
  Object after;                       // what each array has seen after the step: a tuple
  PyObject** to = nullptr;            // its items
  int arrays = 0;                     // of them, those that are filled in
  long long first = 0;
  bool differ = false;

  void turn_to(PyObject* given, long long value) {
    latest = given;
    step = value;
    part = -1;
    next = Object();
  }

  void add(bool takes_part, int count) {
    if (takes_part && !next) next = Object::made(PyLong_FromLongLong(step + 1));
    PyObject* its_steps = takes_part ? next.ptr() : latest;
    for (const int end = arrays + count; arrays < end; ++arrays) to[arrays] = Py_NewRef(its_steps);
    const long long value = step + takes_part;
    if (arrays == count) first = value;
    differ = differ || value != first;
  }
};

int Step::group_of(int entry) const { return known_ ? known_->group(entry) : 0; }

bool Step::is_left_out(const Collection& read, int entry) const {
  constexpr int grads = 1;
  const bool is_missing =
      read.nodes(entry)[grads] == Py_None && arguments_[grads].tree.root != Py_None;
  return is_missing || (left_out_ && left_out_[entry]);
}

bool Step::is_uniform(const Collection& read) const {
  if (ema_weights_) return false;
  for (std::size_t number = 0; number < work_->groups.size(); ++number)
    if (work_->groups[number].steps && !work_->frozen[number]) return false;
  for (int entry = 0; entry < read.entries(); ++entry)
    if (is_left_out(read, entry) && !work_->frozen[group_of(entry)]) return false;
  return true;
}

const int* Step::divide(const Collection& read) {
  const bool other_arrays = known_ && read.entries() != known_->entries();  // refused by the checks
  divided_ = !other_arrays && !is_uniform(read);
  for (std::size_t number = 0; number < work_->groups.size(); ++number) {
    const StepGroup& group = work_->groups[number];
    const bool used = !divided_ && !work_->frozen[number];
    work_->parts[number] = {static_cast<int>(number), group.step, group.ema_weight, used};
  }
  if (!divided_) return nullptr;
  if (rule_.scalars.count > 0)  // which would be those of each part
    raise_value_error(
        std::string(function_) +
        ": gradients must be there for all arrays, as the state has numbers for all of them");
  count(read);
  return work_->part_of_entry.data();
}

int Step::find_part(int group, long long step, double ema_weight) {
  const auto is_it = [&](const StepPart& part) {
    return part.group == group && part.step == step && part.ema_weight == ema_weight;
  };
  StepPart& first = work_->parts[group];
  if (!first.used) first = {group, step, ema_weight, true};
  if (is_it(first)) return group;
  for (std::size_t i = work_->groups.size(); i < work_->parts.size(); ++i)
    if (is_it(work_->parts[i])) return static_cast<int>(i);
  const Update like = work_->updates[group];
  work_->updates.push_back(like);
  work_->parts.push_back({group, step, ema_weight, true});
  return static_cast<int>(work_->parts.size()) - 1;
}

void Step::count(const Collection& read) {
  const int entries = read.entries();
  std::vector<Tally> tallies(work_->groups.size());
  for (std::size_t number = 0; number < tallies.size(); ++number)
    begin(read, number, tallies[number]);
  work_->part_of_entry.assign(entries, -1);
  for (int entry = 0; entry < entries;) {
    const int number = group_of(entry);
    Tally& tally = tallies[number];
    if (work_->frozen[number]) {
      ++entry;
      continue;
    }
    if (tally.counts) {
      PyObject* given = tally.before                  ? tally.before[tally.arrays]
                        : work_->groups[number].steps ? read.number(entry)
                                                      : tally.latest;
      if (given != tally.latest) tally.turn_to(given, read_step(given, entry, tally));
    }
    const bool takes_part = !is_left_out(read, entry);
    if (takes_part && (tally.part < 0 || ema_weights_))
      tally.part = find_part(number, tally.step,
                             ema_weights_ ? ema_weights_[entry] : work_->groups[number].ema_weight);
    const int end =
        takes_part && !ema_weights_ ? end_of_run(read, entry, number, tally) : entry + 1;
    if (takes_part)
      std::fill(&work_->part_of_entry[entry], &work_->part_of_entry[0] + end, tally.part);
    if (tally.counts) tally.add(takes_part, end - entry);
    entry = end;
  }
  for (std::size_t number = 0; number < tallies.size(); ++number)
    set_steps(number, tallies[number]);
}

// Where arrays end that have in common with this one what matters here: most of them do.
int Step::end_of_run(const Collection& read, int entry, int number, const Tally& tally) const {
  const int entries = read.entries();
  PyObject* const* before = tally.before ? tally.before + tally.arrays : nullptr;
  const bool of_functions = !known_ && work_->groups[number].steps;
  int end = entry + 1;
  while (end < entries && group_of(end) == number && !is_left_out(read, end) &&
         (!before || before[end - entry] == tally.latest) &&
         (!of_functions || read.number(end) == tally.latest))
    ++end;
  return end;
}

// An optimizer has counts that differ in a tuple, in the order of the group; a function has them
// where the parameters are.
void Step::begin(const Collection& read, std::size_t number, Tally& tally) const {
  const StepGroup& group = work_->groups[number];
  if (!group.state || work_->frozen[number]) return;
  const int arrays = known_ ? known_->group_size(static_cast<int>(number)) : read.entries();
  if (known_ && group.steps) {
    if (!PyTuple_Check(group.steps) || PyTuple_GET_SIZE(group.steps) != arrays)
      raise_type_error(
          std::string(function_) +
          ": state.step must be an int, or a tuple with one for each array of its group");
    tally.before = &PyTuple_GET_ITEM(group.steps, 0);
  }
  if (!group.steps) tally.turn_to(work_->counts.step_before(group.state), group.step);
  tally.counts = true;
  tally.after = Object::made(PyTuple_New(arrays));
  tally.to = &PyTuple_GET_ITEM(tally.after.ptr(), 0);
}

long long Step::read_step(PyObject* given, int entry, const Tally& tally) const {
  if (PyLong_CheckExact(given)) {
    int overflow;
    const long long value = PyLong_AsLongLongAndOverflow(given, &overflow);
    if (!overflow && value >= 0 && value < max_count) return value;  // no need to make its name
  }
  const std::string place = tally.before ? "[" + std::to_string(tally.arrays) + "]"
                                         : path_of_leaf(arguments_[0].tree, entry);
  return to_count(function_, ("state.step" + place).c_str(), given);
}

// An int where all arrays agree, else what has a count for each.
void Step::set_steps(std::size_t number, const Tally& tally) {
  if (tally.arrays == 0) return;
  Object next = tally.after;
  if (!tally.differ)
    next = Object::made(PyLong_FromLongLong(tally.first));
  else if (!known_)
    next = tree_like(function_, arguments_[0].tree, tally.after.ptr());
  work_->counts.set_step(work_->groups[number].state, std::move(next));
}

}  // namespace fastopt
