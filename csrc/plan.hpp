// The arrays of an optimizer object, checked once and kept: parameters, states, averages. A step
// looks whether they are still what they were, which takes less time than to check them again.
#pragma once
#include <Python.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "array_checks.hpp"
#include "object.hpp"

namespace fastopt {

// The penalties of each group; none where it is frozen.
using GroupPenalties = std::vector<std::optional<Penalties::Values>>;

class Plan {
 public:
  // What the state of a rule may hold: the names of its arrays, plain and interned.
  struct StateNames {
    const char* const* names;
    PyObject* const* interned;
    int required, count;
  };

  struct Group {
    std::string function;  // for messages about its options
    Object state;          // null where the rule has none
    const PyTypeObject* state_type = nullptr;
    Object arrays[3];               // of the state: a tuple, or None where it has them not
    int variant = 0;                // which optional arrays there are, counted in binary
    bool has[int(Dtype::count)]{};  // whether it has parameters of this dtype
  };

  // Entry k of `params` belongs to group group_of_entry[k], and is the next in the tuples that this
  // group's state holds, and number k in the tuple `ema` (or None). Steps are counted in `count`,
  // an array of one int64.
  Plan(std::string function, Object params, const std::vector<int>& group_of_entry,
       PyObject* states, const StateNames& names, PyObject* ema, Object count);

  const char* function() const { return function_.c_str(); }
  PyObject* params() const { return params_.ptr(); }
  int groups() const { return static_cast<int>(groups_.size()); }
  const Group& group(int g) const { return groups_[g]; }
  bool has_ema() const { return has_ema_; }
  void count_step() const { ++*count_; }

  // The streams that a step writes besides those of the arguments of a call.
  unsigned written() const { return written_; }

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

  // Throws if the state of a group holds other arrays than it did.
  void check_state(int g, const StateNames& names) const;

  // Fills the list for a step. The arguments are params, grads, and masks.
  void collect(TensorList& list, const Arguments& arguments, const GroupPenalties& penalties) const;

 private:
  class Collector;

  static constexpr int relevant_flags =
      NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | NPY_ARRAY_WRITEABLE;

  // An array, and what it was like when it was checked.
  struct Known {
    PyObject* array;
    void* data;
    PyArray_Descr* dtype;
    std::size_t extents;  // where its shape and strides begin in extents_
    int axes, flags;

    Known(PyObject* object, std::vector<npy_intp>& all_extents);

    // Without reading further than needed: contiguous arrays have the strides of their shape.
    bool is_as_it_was(const npy_intp* before, int flags_that_count) const {
      PyArrayObject* now = as_array(array);
      return PyArray_DATA(now) == data && PyArray_DESCR(now) == dtype &&
             ((PyArray_FLAGS(now) ^ flags) & flags_that_count) == 0 &&
             has_shape(now, before, axes) &&
             (flags & NPY_ARRAY_C_CONTIGUOUS ||
              std::equal(before + axes, before + 2 * axes, PyArray_STRIDES(now)));
    }
  };

  // What an array is to the user, and to a step.
  struct Role {
    NamedTree name;
    int stream;
  };

  struct Entry {
    int group;
    std::size_t first;  // of its arrays in known_ and roles_
    int count;
    bool contiguous;  // all of them are, and not empty
    Tensor tensor;    // then: what it is in a step, but for what comes with that
    std::size_t bytes;
  };

  // Memory that is written, without gaps.
  struct Block {
    std::uintptr_t begin, end;
  };

  void add_group(int number, int groups, Object state, const StateNames& names);
  void add_entry(PyObject* param, int of_group, std::size_t number_in_group,
                 const StateNames& names, PyObject* average);
  void note_blocks();
  // Whether the memory lies between what is written. A guess tells where; it is corrected.
  bool is_apart(std::uintptr_t begin, std::uintptr_t end, std::atomic<std::size_t>& guess) const;
  const Known* find_overlap(PyArrayObject* array) const;
  [[noreturn]] void raise_changed(std::size_t number, const std::string& path,
                                  int flags_that_count) const;

  std::string function_;
  Object params_, count_array_;
  npy_int64* count_;
  bool has_ema_;
  unsigned written_ = 1u << Streams::param;
  std::vector<Group> groups_;
  std::vector<Entry> entries_;
  std::vector<Known> known_;
  std::vector<Role> roles_;
  std::vector<Object> held_;
  std::vector<npy_intp> extents_;
  std::vector<Block> blocks_;
  // Between which blocks the gradient of each entry was in the latest step: there it mostly is
  // again, and need not be searched for.
  mutable std::unique_ptr<std::atomic<std::size_t>[]> hints_;
  // In which process a call is under way, counted in forks, or 0: who forks while another thread
  // makes a step has a child without that thread.
  mutable std::atomic<int> taken_{0};
};

}  // namespace fastopt
