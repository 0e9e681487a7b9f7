// The options of an optimizer, or of a group of it: numbers, checked when they are set, from which
// steps read.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../../engine/rules.hpp"
#include "../../python/object.hpp"
#include "declared.hpp"

namespace fastopt {

// The updates that an optimizer has made: what its schedules see.
struct StepCount {
  long long steps = 0;

  // In which process a call of the optimizer is under way, counted in forks, or 0: who forks while
  // another thread makes a step has a child without that thread.
  std::atomic<int> taken{0};
};

// The same, held by Python.
struct HeldCount {
  Object holder;
  StepCount* count;

  long long steps() const { return count->steps; }
};

// The values of schedules in one update: one that several groups share is asked once.
class ScheduleValues {
 public:
  explicit ScheduleValues(long long step) : step_(step) {}
  PyObject* of(const Object& schedule);  // borrowed
  long long step() const { return step_; }

 private:
  long long step_;
  Object argument_;
  // The latest ones, which groups mostly share; without an allocation.
  static constexpr int most = 4;
  Object schedules_[most], values_[most];
  int next_ = 0;
};

// Numbers that one step has in place of those of a table.
class NumbersOfStep {
 public:
  static constexpr int most = Rule::max_options + term_count + shared_count;

  void set(int place, double number) {
    given_ |= std::uint64_t{1} << place;
    numbers_[place] = number;
  }
  bool has(int place) const { return given_ >> place & 1; }

  void copy(double* to) const {
    for (int place = 0; given_ >> place; ++place)
      if (has(place)) to[place] = numbers_[place];
  }

 private:
  static_assert(most < 64);
  std::uint64_t given_ = 0;
  double numbers_[most];
};

class OptionTable {
 public:
  // Of a group: whether it is frozen, then the options of the rule, then the terms.
  static std::vector<Declared> of_group(const Rule& rule);
  static constexpr int frozen = 0, first_of_rule = 1;

  // What all groups share, but for what comes with each step; in the order of Shared from
  // `clip_norm` on, then these.
  static std::vector<Declared> of_all();
  static constexpr int flush_denormals = shared_count - 4, threads = shared_count - 3;
  static constexpr int of_step = 2, shared_numbers = shared_count - of_step, drop = shared_numbers,
                       debias = drop + 1, averages_sums = drop + 2, all_count = drop + 3;

  // Of a group with this rule, or, if that is null, of all, with values for all options in a dict.
  // Messages begin with `owner` and `place`, such as "Adam" and "groups[1]". Options that need an
  // array which is among `lacking` must be 0.
  OptionTable(std::string owner, std::string place, const Rule* rule, PyObject* values,
              HeldCount count, std::vector<std::string> lacking);

  int size() const { return static_cast<int>(declared_.size()); }
  PyObject* name(int i) const { return names_[i].ptr(); }
  PyObject* given(int i) const { return given_[i].ptr(); }
  double number(int i) const { return numbers_[i]; }
  int find(PyObject* name) const;  // -1 if there is no such option

  const std::string& place() const { return place_; }
  const Rule* rule() const { return rule_; }  // null where it is not that of a group
  void set_place(std::string place);

  // Sets options, all of them or, where one is refused, none.
  void set(PyObject* name, PyObject* value);
  void set_all(PyObject* dict);
  void check(PyObject* dict) const;  // throws what set_all would
  [[noreturn]] void raise_cannot_be_removed(PyObject* name) const;

  // Gives up what is held, for the garbage collector.
  void forget();

  // One of them alone.
  double number_at(int i, const char* function, ScheduleValues& schedules) const;

  // Copies the numbers for an update; schedules are asked, and what they say is checked, unless
  // the step has another number.
  void copy_numbers(const char* function, ScheduleValues& schedules, const NumbersOfStep& of_step,
                    double* to) const;

  // Reads what a step shall have in place of an option.
  void read_for_step(const char* function, PyObject* name, PyObject* value,
                     NumbersOfStep& to) const;

 private:
  struct Change {
    int place;
    Object given;
    double number;
    bool scheduled;
  };

  int find_or_raise(PyObject* name) const;
  Object items_of(PyObject* dict) const;
  std::vector<Change> read_all(PyObject* items) const;
  Change read(int i, PyObject* value) const;
  bool is_schedule(int i, PyObject* value) const;
  void check_together(const Change* changes, std::size_t count) const;
  void check_needed(const std::string& where, int i, PyObject* given) const;
  void take(const Change& change, Object& before);

  std::string owner_, place_, where_;
  bool made_ = false;
  const Rule* rule_;
  std::vector<Declared> declared_;
  std::vector<Object> names_, given_;
  std::vector<double> numbers_;
  std::vector<int> scheduled_;  // which options are schedules now
  HeldCount count_;
  std::vector<std::string> lacking_;
};

}  // namespace fastopt
