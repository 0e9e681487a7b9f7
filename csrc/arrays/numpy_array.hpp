// What is to be known of one NumPy array, and of two, for all that must look inside of one.
#pragma once
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL fastopt_numpy_api
#ifndef FASTOPT_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include <string>

#include "../engine/steps/overlap.hpp"
#include "../engine/tensors/layout.hpp"
#include "../python/object.hpp"

namespace fastopt {

// Makes NumPy's C API available. To be called once, before anything else here.
void import_numpy();

inline PyArrayObject* as_array(PyObject* object) {
  return reinterpret_cast<PyArrayObject*>(object);
}

// For messages: (2, 3), float32.
std::string integers(const npy_intp* values, int count);
std::string shape_of(PyArrayObject* array);
std::string dtype_of(PyArrayObject* array);

// What an object is if it is no array, or one that is more than a view of memory; else "". Runs no
// code of the user's where it is an array.
std::string why_not_plain(PyObject* object);

inline bool has_shape(PyArrayObject* array, const npy_intp* shape, int axes) {
  if (PyArray_NDIM(array) != axes) return false;
  const npy_intp* own = PyArray_DIMS(array);
  for (int axis = 0; axis < axes; ++axis)
    if (own[axis] != shape[axis]) return false;
  return true;
}

inline bool have_one_shape(PyArrayObject* a, PyArrayObject* b) {
  return has_shape(b, PyArray_DIMS(a), PyArray_NDIM(a));
}

// numpy.from_dlpack, which makes no copy where NumPy can be told so; null with Python's error set.
Object array_from_dlpack(PyObject* object);

// An array without axes that holds a scalar of NumPy's, or a float or int of Python's in the dtype
// of another array; null of all else. Runs no code of the user's.
Object array_of_scalar(PyObject* object, PyArrayObject* like);

// True if both are arrays with the same elements in the same places.
bool is_same_memory(PyObject* a, PyObject* b);

// The memory that the array spans, with its allocation as the owner.
Span span_of(PyArrayObject* array);

// Tells for two arrays whose spans intersect. Runs no code of the user's, of subclasses neither.
bool share_memory(PyArrayObject* a, PyArrayObject* b);

// The bytes of an array that shall hold `elements` packed bits.
std::uint8_t* packed_bits(const char* function, const char* name, PyObject* array,
                          std::int64_t elements);

// Of an array of float32 or float64 in native byte order.
inline Dtype dtype_known(PyArrayObject* array) {
  return PyArray_TYPE(array) == NPY_FLOAT32 ? Dtype::float32 : Dtype::float64;
}

// How an array lies in memory; Streams::param alone has strides.
Layout layout_of(PyArrayObject* array);

}  // namespace fastopt
