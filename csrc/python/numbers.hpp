// Numbers, flags and counts from Python; whatever is wrong with one is said here, by name.
#pragma once
#include <Python.h>

#include <cstdint>

#include "../rules/option.hpp"
#include "object.hpp"

namespace fastopt {

// A real number of Python's or of another library, such as np.float32(1) and np.array(1.0): all
// that has no axes and a real dtype. It may be infinite or NaN; an int that is too large is
// infinite.
double as_number(const char* function, const char* name, PyObject* given);

// The same of ints, as one of Python's.
Object as_int(const char* function, const char* name, PyObject* given);

// Such a number within the range. For Range::flag True or False, as 1 or 0.
double to_number(const char* function, const char* name, Range range, PyObject* given);

// True or False, Python's or NumPy's.
bool to_flag(const char* function, const char* name, PyObject* given);

// A number of threads; more than these are taken for a mistake.
constexpr int max_threads = 1024;
int thread_count(const char* function, const char* name, PyObject* given);

// An int with 0 <= value < 2**64.
std::uint64_t to_uint64(const char* function, const char* name, PyObject* given);

// Whether an int is Python's own or NumPy's: one of the user's could run code when it goes.
bool is_plain_int(PyObject* given);

// A count of steps: an int with 0 <= value < 2**53, so that a double can hold it; a plain one.
constexpr long long max_count = 1LL << 53;
long long to_count(const char* function, const char* name, PyObject* given);

}  // namespace fastopt
