// An optimizer as the core knows it: its arrays, which were checked once, and where its options
// are. Whatever varies from step to step is a number there, so that nothing is prepared anew.
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../arrays/known.hpp"
#include "options/option_table.hpp"
#include "step.hpp"

namespace fastopt {

// Options that Python holds.
struct HeldOptions {
  Object holder;
  const OptionTable* table;
};

class Plan {
 public:
  struct Parts {
    const Rule* rule;
    std::string owner;  // for messages: "Adam"
    Object params;
    std::vector<int> group_of_entry;  // entry k of params is the next of its group's
    std::vector<HeldOptions> groups;
    HeldOptions shared;
    std::vector<Object> states;  // of each group; None where the rule has none
    Object averages;             // a sequence with one for each entry, or None
    Object average_tree;         // the same in the structure of params, as users see them
    HeldCount count;
    std::vector<double> ema_weights;  // of the average of each entry, as Step::debias has them
  };
  explicit Plan(Parts parts);

  // What a call brings for one step alone.
  struct StepArguments {
    PyObject *grads, *grad_scale, *mask, *keep_prob, *update_mask;  // borrowed
    PyObject* options;                                              // a dict, of numbers
    PyObject* params;                                               // or None
  };

  // Makes a step, and returns what it has to say. Without gradients (None) it takes the sums. If
  // other parameters are given than those it has, it does nothing and returns NotImplemented.
  Object step(const StepArguments& arguments);

  // The same within a turn that is taken already.
  Object step_in_turn(const StepArguments& arguments);

  // Entries that are left out, besides those of frozen groups.
  const std::vector<unsigned char>& frozen() const { return frozen_; }
  void set_frozen(std::vector<unsigned char> entries);

  // What was added up.
  struct Added {
    long long count = 0;                // of gradients
    double weight = 0;                  // of all of them
    long long skipped = 0;              // gradients that were not added, since the last step
    std::vector<unsigned char> has;     // the entries that had a gradient
    std::vector<unsigned char> frozen;  // those that were frozen meanwhile
  };

  // Adds gradients to the sums, which `use_sums` has given: arrays like params. To add is a step of
  // SGD that ascends, with its checks and its threads: sum -= weight * -g. It may skip them, and
  // has a result then.
  Object accumulate(PyObject* grads, PyObject* weight, PyObject* skip_nonfinite);
  void use_sums(PyObject* tree, Added added);
  Added added() const { return sums_ ? sums_->added : Added{}; }
  void discard_sums(const char* function);
  long long waiting() const { return sums_ ? sums_->added.count : 0; }

  // Calls visit(object) for all objects that may lead back here, until it returns anything but 0.
  template <class Visit>
  int for_each_held(const Visit& visit) const {
    for (const HeldOptions& group : parts_.groups)
      if (const int stop = visit(group.holder.ptr())) return stop;
    for (const Object& state : parts_.states)
      if (const int stop = visit(state.ptr())) return stop;
    for (PyObject* object : {parts_.shared.holder.ptr(), parts_.params.ptr(), parts_.averages.ptr(),
                             parts_.average_tree.ptr(), parts_.count.holder.ptr(),
                             flat_params_.ptr(), swapped_arrays_.ptr()})
      if (const int stop = visit(object)) return stop;
    const KnownArrays* all[] = {known_ ? &*known_ : nullptr, sums_ ? &sums_->arrays : nullptr};
    for (const KnownArrays* arrays : all)
      for (std::size_t i = 0; arrays && i < arrays->held().size(); ++i)
        if (const int stop = visit(arrays->held()[i].ptr())) return stop;
    return sums_ ? visit(sums_->tree.ptr()) : 0;
  }

  const char* function() const { return step_function_.c_str(); }
  PyObject* params() const { return parts_.params.ptr(); }  // borrowed
  const std::vector<double>& ema_weights() const { return parts_.ema_weights; }
  void set_ema_weights(std::vector<double> weights);

  // Swaps parameters and other arrays, one for each, such as the averages; `what` names these. And
  // back who has done so: each in one call, so that no signal comes in between. To swap in, the
  // caller has a turn: a step in another thread must not be under way. To swap back, arrays need
  // not be writeable: they were when they were swapped. One that has become another by then cannot
  // be; the others are.
  void swap_in(const char* function, PyObject* token, PyObject* arrays, std::string what);
  void swap_back(const char* function, PyObject* token);
  void check_not_swapped(const char* function) const;

  // Throws where a call is under way already: in another thread, or where code of the user's, run
  // by a step, makes one.
  class Turn {
   public:
    Turn(const Plan& plan, const char* function);
    ~Turn() { end(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    void end();

   private:
    const Plan& plan_;
    bool ended_ = false;
  };

 private:
  struct Group {
    std::string function;               // for messages about its options
    Slot step, slots[Rule::max_parts];  // of the state
    Object arrays[Rule::max_parts];     // of the state: tuples, or None where it has them not
    const RuleVariant* variant = nullptr;
    int entries = 0, first_entry = 0;
  };

  struct Sums {
    Object tree;
    KnownArrays arrays;
    Added added;
  };

  // What a call gives for its step alone, in place of options of all groups and of shared ones.
  struct Overrides {
    NumbersOfStep of_groups, shared;
  };

  // What all groups share, in this step.
  struct SharedNow {
    Shared shared;
    bool debias, averages_sums;
    Object drop;
  };

  // Whether these are the parameters, array by array, under the same keys.
  bool has(PyObject* params);
  void note_groups();
  Overrides read_overrides(PyObject* options) const;
  SharedNow read_shared(const Overrides& overrides, ScheduleValues& schedules) const;
  void swap(const char* function, PyObject* params, PyObject* others, bool written);
  KnownArrays known_arrays();
  void check_state(int number) const;
  Object make_step(const StepArguments& arguments);
  void check_what_waits(bool of_sums) const;
  bool has_averages() const { return known_->written() >> Streams::ema & 1; }
  void fill_groups(const Overrides& overrides, ScheduleValues& schedules, double ema_decay,
                   Step& step) const;
  void fill_group(int number, const Overrides& overrides, ScheduleValues& schedules,
                  Step& step) const;
  void debias_averages(Step& step) const;
  void leave_out(bool of_sums, Step& step);
  void note_ema_weights(const Step& step);
  PyObject* array_of(const Group& group, int i, int place) const;
  Shared sum_options(const char* function) const;
  void clear_added();
  bool is_frozen_in(const Step& step, std::size_t entry) const;
  std::vector<unsigned char> frozen_entries(const Step& step) const;
  void check_frozen_as_before(const char* function, const Step& step) const;
  bool is_frozen(int number) const;
  int groups() const { return static_cast<int>(groups_.size()); }

  Parts parts_;
  const std::string step_function_, sum_function_;
  std::vector<Group> groups_;
  std::optional<KnownArrays> known_;
  bool ema_weights_differ_ = false;  // within a group
  std::vector<unsigned char> frozen_, left_out_;
  std::unique_ptr<Sums> sums_;
  Object flat_params_;
  Leaves given_params_;
  Object swapped_by_, swapped_arrays_;
  std::string swapped_what_;
};

}  // namespace fastopt
