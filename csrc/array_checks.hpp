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
  void turn_to(PyObject* const* nodes, const Path& path) {
    nodes_ = nodes;
    path_ = &path;
  }

  // Throws where the array of argument i could not be used in place.
  void check(int i) const;

  // An entry may do without a mask.
  bool is_absent(int i) const {
    return nodes_[i] == Py_None && Streams::is_mask(arguments_[i].stream);
  }

  PyArrayObject* array(int argument) const { return as_array(nodes_[argument]); }

  std::string here() const { return std::string(function_) + ": "; }
  std::string name(int argument) const { return arguments_[argument].tree.name_of(*path_); }

 private:
  void check_class(int i) const;
  void check_dtype(int i) const;
  void check_shape(int i) const;
  void check_written_once(int i) const;

  const char* function_;
  const ArrayArgument* arguments_;
  PyObject* const* nodes_ = nullptr;
  const Path* path_ = nullptr;
};

}  // namespace fastopt
