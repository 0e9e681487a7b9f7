// A step, as far as it depends on no rule: takes options and arrays, has them checked, counts, and
// launches. It has one group of parameters, or those of an optimizer.
#pragma once
#include <new>
#include <optional>
#include <type_traits>
#include <vector>

#include "arrays.hpp"
#include "errors.hpp"
#include "launch.hpp"
#include "norm.hpp"
#include "option_reader.hpp"
#include "plan.hpp"

namespace fastopt {

// Room for any rule with its scalars, in both dtypes.
class RuleScalars {
 public:
  template <template <class> class Rule, class Options>
  void set(const Options& given, double t, const bool* has) {
    // Bias corrections take as long as a hundred elements: only for the dtypes that are there.
    if (has[int(Dtype::float32)]) put<Rule<float>>(Dtype::float32, given, t);
    if (has[int(Dtype::float64)]) put<Rule<double>>(Dtype::float64, given, t);
  }

  const void* at(Dtype dtype) const { return room_[int(dtype)]; }

 private:
  static constexpr std::size_t size = 96;

  template <class Rule, class Options>
  void put(Dtype dtype, const Options& given, double t) {
    static_assert(sizeof(Rule) <= size && std::is_trivially_destructible_v<Rule>);
    new (room_[int(dtype)]) Rule(given, t);
  }

  alignas(8) unsigned char room_[int(Dtype::count)][size];
};

// A group of parameters in a step.
struct StepGroup {
  int number;
  const TermOptions* terms;
  PyObject* state;             // borrowed; null where the rule has none
  long long step = 0;          // updates made before
  bool counts_quietly = true;  // to count the next runs no code of the user's
  RuleScalars scalars;
  Update update{};

  StepGroup(const char* function, int group, const TermOptions& given, PyObject* state_or_null,
            const PyTypeObject* state_type);

  template <template <class> class Rule, class Options>
  void set_rule(const Options& given, const bool* has) {
    const double t = static_cast<double>(step + 1);
    scalars.set<Rule>(given, t, has);
    update.rule = rule_id<Rule>;
    update.lr = update.prox_lr = given.lr;
    if constexpr (has_metric<Rule<float>>) {
      update.scaled_prox = given.scaled_prox;
      if (given.scaled_prox) update.prox_lr = Rule<double>(given, t).metric_lr;
    }
  }
};

// What a step needs besides the stack. Reused, because a step on small arrays should not allocate.
struct Workspace {
  TensorList list, grads;
  Norms norms;
  std::vector<double> tensor_factors;
  std::vector<StepGroup> groups;  // that are not frozen
  std::vector<Update> updates;    // of all groups
};

// The options in a dict. Where it is empty they need not be read, which takes as long as a hundred
// elements of a step.
StepOptions read_options(const char* function, PyObject* dict);

// The terms of a group of an optimizer, which has no other group within it: no trees of numbers.
TermOptions read_terms(const char* function, PyObject* dict);

// The classes of Python that steps know: what they return, and what a user passes as `drop`.
void use_classes(PyObject* step_result, PyObject* dropout);

// Throws unless the state is of this class (None where the rule has no state).
void check_class(const char* function, PyObject* state, PyObject* wanted);

class StepCall {
 public:
  // The options that hold for all groups of the step. A step of an optimizer has a plan.
  StepCall(const char* function, const StepOptions& shared, const Plan* plan);
  ~StepCall();
  StepCall(const StepCall&) = delete;
  StepCall& operator=(const StepCall&) = delete;

  // Adds a group with its own terms, in the order of their numbers. Its state may be of this type,
  // or of one that the user derived from it.
  StepGroup& add_group(const char* function, int number, const TermOptions& terms, PyObject* state,
                       const PyTypeObject* state_type);

  // Takes params, grads, and the arrays that come with the options.
  void take_arrays(PyObject* params, PyObject* grads);

  // Takes the arrays that the state has under this name. Returns false if it has None, which is an
  // error unless they are `optional`.
  bool take_state(const char* name, PyObject* interned_name, bool optional,
                  const PositionalReader& read);

  // Checks all arrays. Then the list has them.
  void collect(const Penalties& penalties);
  void collect(const GroupPenalties& penalties);

  bool has(Dtype dtype) const { return work_->list.has(dtype); }
  StepGroup& group(std::size_t i) { return work_->groups[i]; }

  // Measures the gradients if that is asked for, and counts the step. Nothing fails after this, nor
  // does code of the user's run before the launch. Returns false if the step is to be skipped.
  bool commit();

  void launch();

  // What Python gets: None, or what was found out about the gradients.
  Object result(bool skipped) const;

 private:
  void collect_arrays();
  void check_again();
  void take(NamedTree tree, int stream, bool written);
  void take_drop(PyObject* drop);
  void measure_grads();
  void clip_grads();
  void advance_counts();
  int threads() const;

  const char* function_;
  const StepOptions& shared_;
  const Plan* plan_;
  const Penalties* penalties_ = nullptr;
  const GroupPenalties* group_penalties_ = nullptr;
  PyObject* drop_ = nullptr;
  bool drop_counts_quietly_ = true;
  std::optional<DropoutStream> drop_stream_;
  ArrayArgument arguments_[Streams::count];
  Object held_[Streams::max_states];
  int count_ = 0;
  int state_arrays_ = 0;
  unsigned written_ = 0;
  double clip_factor_ = 1, keep_scale_ = 1;
  bool tensor_factors_ = false;
  Workspace* work_ = nullptr;
  int nonfinite_entry_ = -1;
};

}  // namespace fastopt
