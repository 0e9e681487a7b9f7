// How a step is divided into parts: where some arrays of a group have no gradient, they are left
// out and their count stays behind, so that from then on the rule is folded for each count.
#include <algorithm>

#include "../arrays/known.hpp"
#include "../python/errors.hpp"
#include "../python/numbers.hpp"
#include "../trees/tree_like.hpp"
#include "array_counts.hpp"
#include "step.hpp"

namespace fastopt {

// The counts of one group, as a step goes through its arrays.
struct Step::Tally {
  bool counts = false;               // whether there is a state that does
  const CountRun* before = nullptr;  // what arrays have seen from here on, where that differs
  PyObject* latest = nullptr;        // the same of the latest array of a function,
  long long step = 0;                // as a number,
  int part = -1;                     // and its part, if it was looked for
  int arrays = 0;                    // counted so far,
  std::vector<CountRun> after;       // with what they have seen after the step
  std::vector<CountRun> given;       // the runs of a tuple that was set

  void turn_to(long long value) {
    step = value;
    part = -1;
  }

  void add(bool takes_part, int count) { add_run(after, step + takes_part, arrays += count); }

  static void add_run(std::vector<CountRun>& runs, long long count, int end) {
    if (runs.empty() || runs.back().count != count)
      runs.push_back({count, end});
    else
      runs.back().end = end;
  }
};

int Step::group_of(int entry) const { return known_ ? known_->group(entry) : 0; }

int Step::next_left_out(const Collection& read, int entry) const {
  constexpr int grads = 1;
  const bool may_miss = arguments_[grads].tree.root != Py_None;
  for (const int entries = read.entries(); entry < entries; ++entry) {
    if (may_miss && read.nodes(entry)[grads] == Py_None) break;
    if (left_out_ && entry < static_cast<int>(left_out_->size()) && (*left_out_)[entry]) break;
  }
  return entry;
}

bool Step::is_uniform(const Collection& read) const {
  if (ema_weights_) return false;
  for (std::size_t number = 0; number < work_->groups.size(); ++number)
    if (work_->groups[number].steps && !work_->frozen[number]) return false;
  int gap = next_left_out(read, 0);
  while (gap < read.entries() && work_->frozen[group_of(gap)]) gap = next_left_out(read, gap + 1);
  return gap == read.entries();
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
  for (std::size_t number = 0; number < tallies.size(); ++number) begin(number, tallies[number]);
  work_->part_of_entry.assign(entries, -1);
  for (int entry = 0, gap = -1; entry < entries;) {
    if (gap < entry) gap = next_left_out(read, entry);
    const int number = group_of(entry);
    Tally& tally = tallies[number];
    if (work_->frozen[number]) {
      ++entry;
      continue;
    }
    if (tally.counts) go_on(read, entry, tally);
    const bool takes_part = entry < gap;
    if (takes_part && (tally.part < 0 || ema_weights_))
      tally.part = find_part(number, tally.step,
                             ema_weights_ ? ema_weights_[entry] : work_->groups[number].ema_weight);
    const int end =
        takes_part && !ema_weights_ ? end_of_run(read, entry, gap, number, tally) : entry + 1;
    if (takes_part)
      std::fill(&work_->part_of_entry[entry], &work_->part_of_entry[0] + end, tally.part);
    if (tally.counts) tally.add(takes_part, end - entry);
    entry = end;
  }
  for (std::size_t number = 0; number < tallies.size(); ++number)
    set_steps(number, tallies[number]);
}

// Turns to the count of this array.
void Step::go_on(const Collection& read, int entry, Tally& tally) const {
  if (tally.before) {
    const bool is_next = tally.arrays == tally.before->end;
    if (is_next) ++tally.before;
    if (is_next || tally.arrays == 0) tally.turn_to(tally.before->count);
  } else if (!known_ && work_->groups[0].steps && read.number(entry) != tally.latest) {
    tally.latest = read.number(entry);
    tally.turn_to(read_step(tally.latest, entry));
  }
}

// Where arrays end, before the next gap, that have in common with this one what matters here: most
// of them do.
int Step::end_of_run(const Collection& read, int entry, int gap, int number,
                     const Tally& tally) const {
  int end = entry + 1;
  if (work_->groups.size() == 1)
    end = gap;
  else
    while (end < gap && group_of(end) == number) ++end;
  if (tally.before) return std::min(end, entry + tally.before->end - tally.arrays);
  if (!known_ && work_->groups[number].steps)
    for (int other = entry + 1; other < end; ++other)
      if (read.number(other) != tally.latest) return other;
  return end;
}

// An optimizer has counts that differ in the order of the group; a function has them where the
// parameters are.
void Step::begin(std::size_t number, Tally& tally) const {
  const StepGroup& group = work_->groups[number];
  if (!group.state || work_->frozen[number]) return;
  tally.counts = true;
  tally.after.reserve(4);
  if (!group.steps) return tally.turn_to(group.step);
  if (!known_) return;
  const int arrays = known_->group_size(static_cast<int>(number));
  if (is_array_counts(group.steps) && end_of_runs(group.steps)[-1].end == arrays) {
    tally.before = begin_of_runs(group.steps);
  } else if (PyTuple_Check(group.steps) && PyTuple_GET_SIZE(group.steps) == arrays) {
    for (int i = 0; i < arrays; ++i)
      Tally::add_run(tally.given, read_step(PyTuple_GET_ITEM(group.steps, i), i), i + 1);
    tally.before = tally.given.data();
  } else {
    raise_type_error(
        std::string(function_) +
        ": state.step must be an int, or a tuple with one for each array of its group");
  }
}

// Of an array of a group, or of an entry of a function.
long long Step::read_step(PyObject* given, int number) const {
  if (PyLong_CheckExact(given)) {
    int overflow;
    const long long value = PyLong_AsLongLongAndOverflow(given, &overflow);
    if (!overflow && value >= 0 && value < max_count) return value;  // no need to make its name
  }
  const std::string place =
      known_ ? "[" + std::to_string(number) + "]" : path_of_leaf(arguments_[0].tree, number);
  return to_count(function_, ("state.step" + place).c_str(), given);
}

// An int where all arrays agree, else what has a count for each.
void Step::set_steps(std::size_t number, const Tally& tally) {
  if (tally.arrays == 0) return;
  const std::vector<CountRun>& after = tally.after;
  Object next;
  if (after.size() == 1)
    next = Object::made(PyLong_FromLongLong(after[0].count));
  else if (known_)
    next = new_array_counts(after);
  else
    next = tree_like(function_, arguments_[0].tree,
                     as_tuple(after.data(), after.data() + after.size()).ptr());
  work_->counts.set_step(work_->groups[number].state, std::move(next));
}

}  // namespace fastopt
