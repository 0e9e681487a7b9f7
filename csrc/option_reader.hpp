// Reads the arguments of a step that are no arrays; whatever is wrong with one is said here.
#pragma once
#include <Python.h>

#include <array>
#include <cstdint>

#include "step_options.hpp"

namespace fastopt {

// A Python or NumPy number within the range.
double to_number(const char* function, const char* name, Range range, PyObject* given);

// True or False, Python's or NumPy's.
bool to_flag(const char* function, const char* name, PyObject* given);

// A number of threads; more than these are taken for a mistake.
constexpr int max_threads = 1024;
int thread_count(const char* function, const char* name, PyObject* given);

// An int with 0 <= value < 2**64.
std::uint64_t to_uint64(const char* function, const char* name, PyObject* given);

// A number >= 0, or a container of such, which is looked into when the arrays are.
Penalty to_penalty(const char* function, const char* name, PyObject* given);

// The arguments that are positional, in the order in which the rule names them.
class PositionalReader {
 public:
  PositionalReader(const char* function, PyObject* const* arguments, Py_ssize_t count)
      : function_(function), arguments_(arguments), count_(count) {}

  // A number within the range. If it is not zero, the state must have the array `needs`.
  double number(const char* name, Range range, const char* needs = nullptr);

  // True or False, Python's or NumPy's.
  bool flag(const char* name);

  // Whatever it is; borrowed.
  PyObject* object();

  // Throws if there are more arguments.
  void check_all_read() const;

  // Throws if a number that was read needs the array `name`, which the state has not.
  void check_not_needed(const char* name) const;

 private:
  const char* function_;
  PyObject* const* arguments_;
  Py_ssize_t count_, next_ = 0;
  struct {
    const char* array = nullptr;
    const char* by = nullptr;
    double value = 0;
  } need_;
};

// The keywords of StepOptions, in the order in which it names them, whatever the order in the dict.
class KeywordReader {
 public:
  // Throws where the dict has a keyword that StepOptions has not. It must outlive the reader.
  KeywordReader(const char* function, PyObject* dict);

  double number(const char* name, Range range, double otherwise);
  double number_or_none(const char* name, Range range, double otherwise);
  bool flag(const char* name);
  Penalty penalty(const char* name);
  PyObject* object(const char* name);  // null for None
  int threads(const char* name);

  // Learns the names of the options. To be called once, before anything else here.
  static void learn_names();

 private:
  static constexpr int max_names = 32;

  PyObject* next() { return given_[next_++]; }

  const char* function_;
  std::array<PyObject*, max_names> given_{};
  int next_ = 0;
};

}  // namespace fastopt
