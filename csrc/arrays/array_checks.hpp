// What a step demands of every array, and what it says where an array does not comply.
#pragma once
#include <string>

#include "../trees/tree.hpp"
#include "numpy_array.hpp"

namespace fastopt {

// An argument of a call that holds arrays.
struct ArrayArgument {
  NamedTree tree;
  int stream;             // where its arrays go in Streams
  bool written;           // an output; otherwise it is only read
  bool optional = false;  // an entry may be None
};

class ArrayChecks {
 public:
  // Entries have their names in `named_by`, a tree like all arguments.
  ArrayChecks(const char* function, const ArrayArgument* arguments, const NamedTree& named_by)
      : function_(function), arguments_(arguments), named_by_(named_by) {}

  // Turns to the arrays of one entry. arguments[0] is its parameter.
  void turn_to(PyObject* const* nodes, int entry) {
    nodes_ = nodes;
    entry_ = entry;
  }

  // Throws where the array of argument i could not be used in place.
  void check(int i) const;

  // Throws where it is no array, or one of another dtype.
  void check_kind(int i) const;

  bool is_absent(int i) const { return nodes_[i] == Py_None && arguments_[i].optional; }

  PyArrayObject* array(int argument) const { return as_array(nodes_[argument]); }

  std::string here() const { return std::string(function_) + ": "; }
  std::string name(int argument) const { return name_of_entry(argument, entry_); }
  std::string name_of_entry(int argument, int entry) const {
    return name_of(arguments_[argument].tree, entry);
  }
  std::string name_of(const NamedTree& tree, int entry) const {
    return tree.belongs_to + (tree.name + path_of_leaf(named_by_, entry));
  }

 private:
  void check_class(int i) const;
  void check_dtype(int i) const;
  void check_shape(int i) const;
  void check_factor(int i) const;
  void check_written_once(int i) const;
  [[noreturn]] void raise_read_only(int i) const;

  const char* function_;
  const ArrayArgument* arguments_;
  const NamedTree& named_by_;
  PyObject* const* nodes_ = nullptr;
  int entry_ = 0;
};

}  // namespace fastopt
