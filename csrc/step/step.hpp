// One step, from its arguments to its result: of a function, or of an optimizer, which knows its
// arrays. There is no other way.
#pragma once
#include <optional>
#include <vector>

#include "../arrays/collection.hpp"
#include "../engine/launch.hpp"
#include "../engine/steps/fitting.hpp"
#include "../engine/steps/gradients.hpp"
#include "counts.hpp"
#include "options/declared.hpp"

namespace fastopt {

// A group of parameters in a step, before it is folded into an Update.
struct StepGroup {
  double options[Rule::max_options];  // of the rule
  const RuleVariant* variant;
  PyObject* state = nullptr;  // borrowed, as are
  PyObject* steps = nullptr;  // the updates that each array has seen, where they differ: a tree
                              // of ints, or of an optimizer a tuple or ArrayCounts
  long long step;             // else those of all
  double ema_weight;          // of their averages before
};

// Arrays of one group that have seen the same updates. The first of a group has its number; where a
// group has more, these come behind all groups.
struct StepPart {
  int group;
  long long step;     // updates made before
  double ema_weight;  // of the averages: before, and from `fold` on afterwards
  bool used;
};

// What a step needs besides the stack. Reused, because a step on small arrays should not allocate.
struct Workspace {
  Collection arrays;
  Gradients gradients;
  Counts counts;
  std::vector<StepGroup> groups;  // all of them; of those that are frozen, nothing is filled in
  std::vector<Update> updates;    // of each part, as are
  std::vector<StepPart> parts;
  std::vector<int> part_of_entry;  // where a group has several, or arrays are left out
  std::vector<unsigned char> frozen;
  Room room;
};

// What the latest step of a thread was told, for tests: options must arrive.
struct Told {
  int threads = 0;
  bool flush_denormals = false;
  int entries = 0, glances = 0;  // arrays of parameters; of these, taken at a glance
};
const Told& told();

class Step : private Division {
 public:
  // With options that all groups have in common; they may be corrected until arrays are collected.
  Step(const char* function, const Rule& rule, const Shared& shared, int groups);
  ~Step();
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  // Groups are filled in by their number, or frozen. What has a state counts in it.
  StepGroup& group(int number) { return work_->groups[number]; }
  Terms& terms(int number) { return work_->updates[number].terms; }
  void set_ema_decay(int number, double decay) { work_->updates[number].ema_decay = decay; }
  void freeze(int number) { work_->frozen[number] = true; }
  bool is_frozen(int number) const { return work_->frozen[number] != 0; }
  void count_in(const char* function, int number, PyObject* state, Slot slot);

  // Leaves out arrays for which this list is true, like those whose gradient is None.
  void leave_out(const std::vector<unsigned char>& entries) { left_out_ = &entries; }

  // Keeps averages free of their start. The weights are those that averages have, entry by entry
  // where they differ (else null, and a group has them).
  void debias(const double* ema_weights) {
    debiases_ = true;
    ema_weights_ = ema_weights;
  }

  // Takes params, grads, and what comes with them; all null where they are not given. Of averages
  // that are among what is known, the tree is only looked at.
  struct Given {
    PyObject *params, *grads, *mask, *drop, *update_mask, *ema;
  };
  void take(const Given& given, const KnownArrays* known);

  // Takes two trees alone, under names of their own: what changes, and what it changes by.
  void take(const NamedTree& params, const NamedTree& grads);

  // Looks for infinities and NaN alone, not for what is too large to be squared.
  void allow_large_squares() { refuses_large_squares_ = false; }

  // Takes what a state has under this name, and where it goes.
  void take_state(const char* name, int stream, PyObject* tree);

  // Checks, measures, counts, launches. Returns false if the step is skipped. Whatever throws does
  // so before anything is changed.
  bool run(const PenaltyTree* penalties);

  // Where arrays were left out, or a group has several parts.
  bool is_divided() const { return divided_; }

  // In a step that was made: which arrays took part, and what weight their averages have now.
  bool took_part(int entry, int group) const { return part_of(entry, group) >= 0; }
  double ema_weight_of(int entry, int group) const {
    return work_->parts[part_of(entry, group)].ema_weight;
  }

  // What Python gets: None, or what was found out about the gradients.
  Object result() const;

  // What makes the matrices of rules that want it orthogonal: see matrices.cpp.
  static void use_orthogonalizer(PyObject* orthogonalize);

 private:
  const int* divide(const Collection& read) override;
  bool is_uniform(const Collection& read) const;
  int next_left_out(const Collection& read, int entry) const;
  int find_part(int group, long long step, double ema_weight);
  void count(const Collection& read);
  struct Tally;
  void begin(std::size_t number, Tally& tally) const;
  void go_on(const Collection& read, int entry, Tally& tally) const;
  long long read_step(PyObject* given, int number) const;
  int end_of_run(const Collection& read, int entry, int gap, int number, const Tally& tally) const;
  void set_steps(std::size_t number, const Tally& tally);
  int group_of(int entry) const;
  static double debiased_decay(StepPart& part, double decay);
  int part_of(int entry, int group) const {
    if (divided_) return work_->part_of_entry[entry];
    return work_->frozen[group] ? -1 : group;
  }

  void add(NamedTree tree, int stream, bool written, bool optional = false);
  void take_drop(PyObject* drop);
  void check_numbers(bool own_penalties) const;
  void check_in_common() const;
  Misfit misfit_of(int part, Dtype dtype, const double* scalars) const;
  [[noreturn]] void refuse(const Misfit& misfit, const Tensor& tensor) const;
  bool measure(const Arguments& given);
  void skip();
  [[noreturn]] void raise_nonfinite() const;
  void fold();
  Object make_orthogonal();
  static void keep_memory(const Object& memory);
  void check_matrices() const;
  int threads() const;

  const char* function_;
  const Rule& rule_;
  Shared shared_;
  const KnownArrays* known_ = nullptr;
  PyObject* averages_ = nullptr;  // the tree of those that are known
  std::optional<DropoutStream> drop_;
  ArrayArgument arguments_[Streams::all];
  int count_ = 0;
  unsigned written_ = 0;
  double keep_scale_ = 1;
  bool skipped_ = false, refuses_large_squares_ = true;
  bool divided_ = false, debiases_ = false;
  const std::vector<unsigned char>* left_out_ = nullptr;
  const double* ema_weights_ = nullptr;
  Workspace* work_;
};

// The result of a step that is skipped because all its gradients were left out.
Object result_without_gradients();

// The class of Python that results are made of.
void use_result_class(PyObject* step_result);

}  // namespace fastopt
