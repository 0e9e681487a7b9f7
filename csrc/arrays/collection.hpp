// Trees of arrays go in, a flat list of tensors comes out, or an exception names what is wrong.
#pragma once
#include <Python.h>

#include <utility>
#include <vector>

#include "../engine/steps/overlap.hpp"
#include "../engine/tensors/tensors.hpp"
#include "../trees/tree.hpp"
#include "array_checks.hpp"

namespace fastopt {

class KnownArrays;

// The strength of a penalty: one number, or a tree of numbers, in which a number may stand where
// params has a container.
struct PenaltyTree {
  const char* name;
  double number;
  PyObject* tree;  // borrowed; null where there is one number
};

class Collection;

// Divides entries into parts, of which a step treats each alike: the groups of an optimizer, or
// some of a group that have been updated less often.
class Division {
 public:
  // Returns the part of every entry, or -1 where it is left out; null where all of each group are
  // one part. It is asked when the trees are read and no array is checked yet: code of the user's
  // may run.
  virtual const int* divide(const Collection& read) = 0;

 protected:
  ~Division() = default;
};

// What a call has for every entry. arrays[0] is params, whose structure the others must have.
struct Arguments {
  const char* function;
  const ArrayArgument* arrays;
  int count;
  PyObject* named_by = nullptr;            // the tree that names the entries; if null, params
  const PenaltyTree* penalties = nullptr;  // four, as in Penalties, in place of those of the group
  const DropoutStream* drop = nullptr;     // of the first entry; each further has the next offset
  std::int64_t alignment = block_size;

  // Of arrays that an optimizer knows: params, and those that are not among the arguments.
  const KnownArrays* known = nullptr;
  const unsigned char* frozen = nullptr;  // for each group, whether it is left out
  PyObject* averages = nullptr;           // the tree of those that are known, or null

  // Where gradients, which come second, may be missing (None), and a tree of numbers like params or
  // null.
  Division* division = nullptr;
  PyObject* numbers = nullptr;

  bool matrices = false;  // whether the rule is for them
};

// All arrays of a call. It keeps them alive, because kernels run without the GIL. Reuse it: a step
// on small arrays should not allocate.
class Collection {
 public:
  Tensors tensors;

  Collection() = default;
  Collection(const Collection&) = delete;
  Collection& operator=(const Collection&) = delete;

  // Checks all arguments against each other and fills the list of tensors. Throws with nothing
  // changed.
  void collect(const Arguments& arguments);

  // Which dtypes there are.
  const bool* has() const { return has_; }

  // Leaves of the trees, empty arrays among them; and what stands in place of one, in each tree.
  int entries() const { return leaves_.entries(); }
  PyObject* const* nodes(int entry) const { return leaves_.of(entry); }

  // What the tree of numbers has for an entry.
  PyObject* number(int entry) const { return nodes(entry)[place_of_numbers_]; }

  // The object whose view stands in place of a leaf of argument i, or the leaf itself.
  PyObject* given(int entry, int i) const;

  // How many entries a glance was enough for.
  int glances() const { return glances_; }

  // Takes the gradients alone, as Streams::param, with the masks that leave some of them out, in
  // the order of this list. What they go to must not outlive this collection.
  void take_gradients(const Arguments& arguments, std::int64_t alignment, Tensors& to) const;

  void clear();

 private:
  class Collector;
  static bool share_memory(void* self, const Span& a, const Span& b);

  Leaves leaves_;
  int place_of_numbers_ = 0;
  bool has_[dtypes] = {};
  int glances_ = 0;
  std::vector<std::pair<PyObject* const*, Object>> viewed_;  // where a view stands, and of what
  std::vector<void*> glanced_;  // the memory of gradients that a glance was enough for, or null
  std::vector<Penalties> penalties_;  // of every entry; of one, where all have the same
  std::vector<Span> spans_;
  std::vector<std::uintptr_t> scratch_;
};

// Adds the arrays of one entry, which must have been checked, each to its stream; the first is the
// parameter. Returns null where they are empty, and the state has no numbers.
Tensor* add_arrays(Tensors& tensors, PyObject* const* arrays, const int* streams, int count,
                   int entry, std::int64_t alignment, const DropoutStream* drop = nullptr);

}  // namespace fastopt
