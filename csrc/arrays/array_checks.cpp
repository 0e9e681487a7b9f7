#include "array_checks.hpp"

#include <algorithm>

#include "../engine/tensors/masks.hpp"
#include "../python/errors.hpp"
#include "dlpack.hpp"

namespace fastopt {

void ArrayChecks::check(int i) const {
  check_kind(i);
  const int flags = PyArray_FLAGS(array(i));
  if (i > 0) check_shape(i);
  if (!(flags & NPY_ARRAY_ALIGNED))
    raise_value_error(here() + name(i) + " is not aligned in memory for its dtype");
  if (arguments_[i].written) {
    if (!(flags & NPY_ARRAY_WRITEABLE)) raise_read_only(i);
    if (!(flags & NPY_ARRAY_C_CONTIGUOUS)) check_written_once(i);
  }
}

void ArrayChecks::check_kind(int i) const {
  if (!PyArray_CheckExact(nodes_[i])) check_class(i);
  check_dtype(i);
}

// A subclass is welcome if it is nothing but a view of memory.
void ArrayChecks::check_class(int i) const {
  if (offers_dlpack(nodes_[i]) && !PyArray_Check(nodes_[i])) {
    std::string why;
    if (view_of(nodes_[i], why)) why = type_of(nodes_[i]) + ", which changed while it was read";
    raise_type_error(here() + name(i) + " is " + why);
  }
  const std::string wrong = why_not_plain(nodes_[i]);
  if (wrong.empty()) return;
  const std::string must = here() + name(i) + " must be a NumPy array";
  const bool is_whole_tree = i == 0 && nodes_[0] == arguments_[0].tree.root;
  if (!is_whole_tree || wrong != type_of(nodes_[0])) raise_type_error(must + ", not " + wrong);
  const bool is_users = PyType_HasFeature(Py_TYPE(nodes_[0]), Py_TPFLAGS_HEAPTYPE);
  raise_type_error(
      must + ", or lists, tuples, dicts or dataclass instances of arrays, not " + wrong +
      (is_users ? "; pass its arrays themselves (dataclasses.asdict copies them)" : ""));
}

void ArrayChecks::check_dtype(int i) const {
  const int type = PyArray_TYPE(array(i)), param_type = PyArray_TYPE(array(0));
  const bool native = PyArray_ISNOTSWAPPED(array(i));
  if (Streams::is_mask(arguments_[i].stream)) {
    if (type != NPY_BOOL && type != NPY_UINT8)
      raise_type_error(here() + name(i) + " has dtype " + dtype_of(array(i)) +
                       ", it must be bool, or uint8 (also with packed bits)");
  } else if (i == 0) {
    if ((type != NPY_FLOAT32 && type != NPY_FLOAT64) || !native)
      raise_type_error(here() + name(0) + " has dtype " + dtype_of(array(0)) +
                       ", it must be float32 or float64 in native byte order");
  } else if (Streams::is_number(arguments_[i].stream)) {
    if (type != NPY_FLOAT64 || !native)
      raise_type_error(here() + name(i) + " has dtype " + dtype_of(array(i)) +
                       ", it must be float64");
  } else if (type != param_type || !native) {
    raise_type_error(here() + name(i) + " has dtype " + dtype_of(array(i)) + ", " + name(0) +
                     " has " + dtype_of(array(0)));
  }
}

void ArrayChecks::check_shape(int i) const {
  if (Streams::is_number(arguments_[i].stream)) {
    if (PyArray_NDIM(array(i)) == 0) return;
    raise_value_error(here() + name(i) + " has shape " + shape_of(array(i)) +
                      ", it must have (), as it is one number");
  }
  if (Streams::is_factor(arguments_[i].stream)) return check_factor(i);
  if (have_one_shape(array(0), array(i))) return;
  const npy_intp packed = packed_size(PyArray_SIZE(array(0)));
  const bool is_mask = Streams::is_mask(arguments_[i].stream);
  const bool is_packed = is_mask && PyArray_TYPE(array(i)) == NPY_UINT8 &&
                         PyArray_NDIM(array(i)) == 1 && PyArray_DIM(array(i), 0) == packed;
  if (is_packed && PyArray_IS_C_CONTIGUOUS(array(i))) return;
  if (is_packed) raise_value_error(here() + name(i) + " has packed bits, which must be contiguous");
  raise_value_error(
      here() + name(i) + " has shape " + shape_of(array(i)) + ", " + name(0) + " has " +
      shape_of(array(0)) +
      (is_mask ? "; in packed bits (uint8), it would be " + integers(&packed, 1) : ""));
}

// The means of rows have their shape with 1 along the last axis, those of columns along the one
// before; of an array with fewer axes, each element is a row, and there are no columns.
void ArrayChecks::check_factor(int i) const {
  const int axes = PyArray_NDIM(array(0));
  const bool of_rows = arguments_[i].stream == Streams::first_factor;
  npy_intp shape[NPY_MAXDIMS] = {};
  int wanted = axes;
  std::copy_n(PyArray_DIMS(array(0)), axes, shape);
  if (axes >= 2)
    shape[axes - (of_rows ? 1 : 2)] = 1;
  else if (!of_rows)
    shape[0] = 0, wanted = 1;
  const int has = PyArray_NDIM(array(i));
  if (has != wanted || !std::equal(shape, shape + wanted, PyArray_DIMS(array(i))))
    raise_value_error(here() + name(i) + " has shape " + shape_of(array(i)) + ", " + name(0) +
                      " has " + shape_of(array(0)) + ", whose " + (of_rows ? "rows" : "columns") +
                      " have means of shape " + integers(shape, wanted));
  if (!PyArray_IS_C_CONTIGUOUS(array(i)))
    raise_value_error(here() + name(i) + " must be contiguous in memory");
}

// Parameters are what users bring: pandas and JAX hand out arrays that nobody may write.
void ArrayChecks::raise_read_only(int i) const {
  const bool is_lent = is_lent_by_dlpack(array(i));
  const bool is_param = arguments_[i].tree.name == std::string("params");
  const std::string as_lent =
      is_lent ? ", as DLPack lends it (before NumPy 2.1, numpy.from_dlpack lends all so)" : "";
  const std::string copy = is_lent ? "numpy.from_dlpack(" + name(i) + ").copy()"  //
                                   : "numpy.array(" + name(i) + ")";
  raise_value_error(here() + name(i) + " is read-only" + as_lent +
                    (is_param ? "; copy it first: " + copy + " can be written" : ""));
}

void ArrayChecks::check_written_once(int i) const {
  std::int64_t shape[NPY_MAXDIMS], strides[NPY_MAXDIMS];
  const int axes = PyArray_NDIM(array(i));
  std::copy_n(PyArray_DIMS(array(i)), axes, shape);
  std::copy_n(PyArray_STRIDES(array(i)), axes, strides);
  if (may_overlap_itself(axes, shape, strides, PyArray_ITEMSIZE(array(i))))
    raise_value_error(here() + name(i) + " overlaps itself in memory (shape " + shape_of(array(i)) +
                      ", strides " + integers(PyArray_STRIDES(array(i)), axes) +
                      "), as broadcast views do");
}

}  // namespace fastopt
