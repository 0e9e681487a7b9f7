// The arrays of an optimizer object, checked once and kept: parameters, states, averages. A step
// looks whether they are still what they were, which takes less time than to check them again.
#pragma once
#include <Python.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "../python/object.hpp"
#include "collection.hpp"

namespace fastopt {

class KnownArrays {
 public:
  // An entry: its parameter first.
  struct Entry {
    int group;
    std::size_t first;  // of its arrays, among all
    int count;
    bool contiguous;  // all of them are, and not empty
    Tensor tensor;    // then: what it is in a step, but for what comes with that
    std::size_t bytes;
  };

  // Checks arrays as for a step, and notes what they are. Entries may lack an argument (None).
  KnownArrays(const Arguments& arguments, const std::vector<int>& group_of_entry);

  int entries() const { return static_cast<int>(entries_.size()); }
  const Entry& entry(int number) const { return entries_[number]; }
  // Whether steps give the GIL away.
  bool is_large() const { return is_large_; }
  int group(int number) const { return groups_[number]; }
  int group_size(int group) const { return group_sizes_[group]; }
  PyObject* array(const Entry& entry, int i) const { return known_[entry.first + i].array; }
  int stream(const Entry& entry, int i) const {
    return roles_[known_[entry.first + i].role].stream;
  }

  // All references that are held, for the garbage collector.
  const std::vector<Object>& held() const { return held_; }

  // A bit for each stream that a step writes.
  unsigned written() const { return written_; }

  // Throws if the parameter or its average (null: not given) is another array, or if an array of
  // the entry is not what it was. One that is frozen may be read-only, but must not have moved:
  // others are compared with where it is.
  void check_unchanged(int number, PyObject* param, PyObject* average, bool frozen,
                       const ArrayChecks& checks) const;

  // A glance that spares the checks of a gradient, in the usual case that it would pass them:
  // returns its memory, else null.
  void* at_a_glance(int number, PyObject* grad) const;

  // Throws if a tensor without DLPack's table, for which code of the user's runs, is not where it
  // was.
  void look_at_slow_ones(const ArrayChecks& checks) const;
  bool has_slow_ones() const { return any_slow_; }

  // Whether the parameter of an entry is this array or tensor, with the memory that it had.
  bool has_param(int number, PyObject* param) const;

  // Throws if argument i of a call shares memory with what is known.
  void check_apart(PyArrayObject* array, const ArrayChecks& checks, int i) const;

  // Sets all parameters to zero.
  void clear_params() const;

 private:
  static constexpr int relevant_flags =
      NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | NPY_ARRAY_WRITEABLE;

  // An array, and what it was like when it was checked.
  struct Known {
    PyObject* array;
    PyObject* given;  // the same, or the tensor that it is a view of
    void* data;
    PyArray_Descr* dtype;
    std::size_t extents;  // where its shape and strides begin in extents_
    int axes, flags;
    int role;   // which argument it was
    bool slow;  // a tensor whose class has no table
  };

  // What an array is to the user, and to a step.
  struct Role {
    NamedTree name;
    int stream;
  };

  // Memory that is written, without gaps.
  struct Block {
    std::uintptr_t begin, end;
  };

  void add(PyObject* array, PyObject* given, int role);
  void note_blocks();
  void* data_of_array(const Known& param, PyArrayObject* grad) const;
  void* data_of_tensor(PyArrayObject* param, PyObject* grad) const;
  const npy_intp* extents(const Known& known) const { return extents_.data() + known.extents; }
  bool is_as_it_was(const Known& known, int flags_that_count) const;
  static bool has_its_memory(const Known& known);
  static bool has_its_memory_by_view(const Known& known);
  std::string name_of(const Known& known, int number, const ArrayChecks& checks) const {
    return checks.here() + checks.name_of(roles_[known.role].name, number);
  }
  // Whether the memory lies between what is written. A guess tells where; it is corrected.
  bool is_apart(std::uintptr_t begin, std::uintptr_t end, std::atomic<std::size_t>& guess) const;
  [[noreturn]] void raise_is_another(const std::string& name, const char* instead) const;
  [[noreturn]] void raise_changed(const Known& known, const std::string& name,
                                  int flags_that_count) const;

  unsigned written_ = 0;
  std::vector<Entry> entries_;
  std::vector<int> groups_, group_sizes_;  // of entries; how many each group has
  std::vector<Known> known_;
  std::vector<Role> roles_;
  std::vector<Object> held_;
  bool is_large_ = false;
  bool any_slow_ = false;  // tensors whose class has no table
  std::vector<npy_intp> extents_;
  std::vector<Block> blocks_;
  // Between which blocks the gradient of each entry was in the latest step: there it mostly is
  // again, and need not be searched for.
  mutable std::unique_ptr<std::atomic<std::size_t>[]> guesses_;
};

}  // namespace fastopt
