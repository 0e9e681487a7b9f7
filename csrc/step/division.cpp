// How a step is divided into parts: where some arrays of a group have no gradient, they are left
// out and their count stays behind, so that from then on the rule is folded for each count.
#include "../arrays/known.hpp"
#include "../arrays/tree_like.hpp"
#include "../python/errors.hpp"
#include "../python/numbers.hpp"
#include "step.hpp"

namespace fastopt {
namespace {

// Numbers as Python's: few, and each mostly that of the array before.
class Ints {
 public:
  PyObject* of(long long value) {
    if (!latest_ || value != value_) latest_ = Object::made(PyLong_FromLongLong(value));
    value_ = value;
    return latest_.ptr();
  }

 private:
  Object latest_;
  long long value_ = 0;
};

}  // namespace

// The updates of the arrays of one group, after a step.
struct Step::Tally {
  int arrays = 0;
  long long first = 0;
  bool differ = false;
  int filled = 0;

  void add(long long step) {
    if (arrays++ == 0) first = step;
    differ = differ || step != first;
  }
};

int Step::group_of(int entry) const { return known_ ? known_->entry(entry).group : 0; }

bool Step::is_left_out(const Collection& read, int entry) const {
  constexpr int grads = 1;
  return read.nodes(entry)[grads] == Py_None || (left_out_ && left_out_[entry]);
}

bool Step::is_uniform(const Collection& read) const {
  if (weights_) return false;
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
    work_->parts[number] = {static_cast<int>(number), group.step, group.weight, used};
  }
  if (!divided_) return nullptr;
  count(read);
  return work_->part_of_entry.data();
}

int Step::find_part(int group, long long step, double weight) {
  const auto is_it = [&](const StepPart& part) {
    return part.group == group && part.step == step && part.weight == weight;
  };
  StepPart& first = work_->parts[group];
  if (!first.used) first = {group, step, weight, true};
  if (is_it(first)) return group;
  for (std::size_t i = work_->groups.size(); i < work_->parts.size(); ++i)
    if (is_it(work_->parts[i])) return static_cast<int>(i);
  const Update like = work_->updates[group];
  work_->updates.push_back(like);
  work_->parts.push_back({group, step, weight, true});
  return static_cast<int>(work_->parts.size()) - 1;
}

void Step::count(const Collection& read) {
  const int entries = read.entries();
  std::vector<Tally> tallies(work_->groups.size());
  std::vector<long long> after(entries);
  work_->part_of_entry.assign(entries, -1);
  for (int entry = 0; entry < entries; ++entry) {
    const int number = group_of(entry);
    const StepGroup& group = work_->groups[number];
    if (work_->frozen[number]) continue;
    Tally& tally = tallies[number];
    long long step = group.step;
    if (group.steps) step = step_of(read, group, entry, tally.arrays);
    const double weight = weights_ ? weights_[entry] : group.weight;
    const bool takes_part = !is_left_out(read, entry);
    if (takes_part) work_->part_of_entry[entry] = find_part(number, step, weight);
    after[entry] = step + takes_part;
    tally.add(after[entry]);
  }
  for (std::size_t number = 0; known_ && number < tallies.size(); ++number) {
    PyObject* steps = work_->groups[number].steps;
    if (steps && PyTuple_GET_SIZE(steps) != tallies[number].arrays) raise_no_counts();
  }
  const auto next = next_steps(tallies, after);
  for (std::size_t number = 0; number < next.size(); ++number)
    if (next[number]) work_->counts.set_step(work_->groups[number].state, next[number]);
}

// What an array has seen, of those that differ: the tuple of an optimizer has them in the order of
// the group, another tree has them where the parameters are.
long long Step::step_of(const Collection& read, const StepGroup& group, int entry,
                        int position) const {
  const bool in_tuple = known_ && PyTuple_Check(group.steps);
  if (known_ && (!in_tuple || position >= PyTuple_GET_SIZE(group.steps))) raise_no_counts();
  PyObject* given = known_ ? PyTuple_GET_ITEM(group.steps, position) : read.number(entry);
  if (PyLong_CheckExact(given)) {
    int overflow;
    const long long value = PyLong_AsLongLongAndOverflow(given, &overflow);
    if (!overflow && value >= 0 && value < max_count) return value;  // no need to make its name
  }
  const std::string place =
      known_ ? "[" + std::to_string(position) + "]" : path_of_leaf(arguments_[0].tree, entry);
  return to_count(function_, ("state.step" + place).c_str(), given);
}

void Step::raise_no_counts() const {
  raise_type_error(std::string(function_) +
                   ": state.step must be an int, or a tuple with one for each array of its group");
}

// For each group that counts: an int where all its arrays agree, else what has one for each.
std::vector<Object> Step::next_steps(std::vector<Tally>& tallies,
                                     const std::vector<long long>& after) const {
  std::vector<Object> next(tallies.size());
  Ints ints;
  for (std::size_t number = 0; number < next.size(); ++number) {
    const Tally& tally = tallies[number];
    if (!work_->groups[number].state || tally.arrays == 0) continue;
    next[number] = tally.differ ? Object::made(PyTuple_New(tally.arrays))
                                : Object::borrow(ints.of(tally.first));
  }
  std::vector<Object> leaves;
  for (int entry = 0; entry < static_cast<int>(after.size()); ++entry) {
    const int number = group_of(entry);
    Tally& tally = tallies[number];
    if (!tally.differ || !next[number]) continue;
    PyObject* step = ints.of(after[entry]);
    if (!known_) leaves.push_back(Object::borrow(step));
    PyTuple_SET_ITEM(next[number].ptr(), tally.filled++, Py_NewRef(step));
  }
  if (!leaves.empty()) next[0] = tree_like(function_, arguments_[0].tree, leaves);
  return next;
}

}  // namespace fastopt
