// What a step demands of every array, and what it says where an array does not comply.
#pragma once
#include <string>

#include "arrays.hpp"
#include "numpy_array.hpp"

namespace fastopt {

class ArrayChecks {
 public:
  ArrayChecks(const char* function, const ArrayArgument* arguments)
      : function_(function), arguments_(arguments) {}

  // Turns to the arrays of one entry. arguments[0] is its parameter.
  void turn_to(PyObject* const* nodes, int entry) {
    nodes_ = nodes;
    entry_ = entry;
  }

  // Throws where the array of argument i could not be used in place.
  void check(int i) const;

  // An entry may do without a mask.
  bool is_absent(int i) const {
    return nodes_[i] == Py_None && Streams::is_mask(arguments_[i].stream);
  }

  PyArrayObject* array(int argument) const { return as_array(nodes_[argument]); }

  std::string here() const { return std::string(function_) + ": "; }
  std::string name(int argument) const { return name_of_entry(argument, entry_); }
  std::string name_of_entry(int argument, int entry) const {
    const NamedTree& tree = arguments_[argument].tree;
    return tree.belongs_to + (tree.name + path_of_leaf(arguments_[0].tree, entry));
  }

 private:
  void check_class(int i) const;
  void check_dtype(int i) const;
  void check_shape(int i) const;
  void check_written_once(int i) const;

  const char* function_;
  const ArrayArgument* arguments_;
  PyObject* const* nodes_ = nullptr;
  int entry_ = 0;
};

}  // namespace fastopt
