// Reads the arguments of a step that are no arrays, in the order in which options name them.
#pragma once
#include <Python.h>

#include "rule_options.hpp"

namespace fastopt {

class HyperReader {
 public:
  HyperReader(const char* function, PyObject* const* arguments, Py_ssize_t count)
      : function_(function), arguments_(arguments), count_(count) {}

  // A Python or NumPy number within the range. If it is not zero, the state must have the array
  // `needs`.
  double number(const char* name, Range range, const char* needs = nullptr);

  // None (then `otherwise`) or a number within the range.
  double number_or(const char* name, Range range, double otherwise);

  // True or False, Python's or NumPy's.
  bool flag(const char* name);

  // None (then `otherwise`) or a number of threads.
  int threads(int otherwise);

  // Whatever it is; borrowed.
  PyObject* object();

  // Throws if there are more arguments.
  void check_all_read() const;

  const char* function() const { return function_; }

  // Throws if a number that was read needs the array `name`, which the state has not.
  void check_not_needed(const char* name) const;

 private:
  double convert(const char* name, PyObject* given) const;

  const char* function_;
  PyObject* const* arguments_;
  Py_ssize_t count_, next_ = 0;
  struct {
    const char* array = nullptr;
    const char* by = nullptr;
    double value = 0;
  } need_;
};

// A number of threads; more than these are taken for a mistake.
constexpr int max_threads = 1024;
int thread_count(const char* function, const char* name, PyObject* given);

}  // namespace fastopt
