#define FASTOPT_IMPORTS_NUMPY
#include "numpy_array.hpp"

#include <algorithm>

#include "../engine/tensors/masks.hpp"
#include "../python/attribute.hpp"
#include "../python/errors.hpp"

namespace fastopt {
namespace {

// What the checks need of NumPy's Python side. Looked up at import: an import in the middle of a
// step could make threads wait for each other.
struct {
  PyObject *masked_array, *matrix, *shares_memory, *too_hard, *from_dlpack, *no_copy;
} numpy;

// Tells the allocation behind an array, or 0.
std::uintptr_t owner_of(PyArrayObject* array) {
  // NumPy makes the base of a view the array that owns the memory, however many views lie between.
  while (!(PyArray_FLAGS(array) & NPY_ARRAY_OWNDATA)) {
    PyObject* base = PyArray_BASE(array);
    if (!base || !PyArray_Check(base)) return 0;
    array = as_array(base);
  }
  return reinterpret_cast<std::uintptr_t>(PyArray_DATA(array));
}

// A cheap proof for the usual case of spans that intersect: columns of one matrix. Where two arrays
// have the same strides and all but the longest keep within its length, the gaps between the rows
// of one may hold the rows of the other.
bool rows_interleave(PyArrayObject* a, PyArrayObject* b) {
  const int axes = PyArray_NDIM(a);
  if (axes == 0 || PyArray_NDIM(b) != axes) return false;
  npy_intp longest = 0;
  for (int axis = 0; axis < axes; ++axis) {
    if (PyArray_STRIDE(a, axis) != PyArray_STRIDE(b, axis) || PyArray_STRIDE(a, axis) < 0)
      return false;
    longest = std::max(longest, PyArray_STRIDE(a, axis));
  }
  const auto row_length = [&](PyArrayObject* array) {
    npy_intp length = PyArray_ITEMSIZE(array);
    for (int axis = 0; axis < axes; ++axis)
      if (PyArray_STRIDE(array, axis) != longest)
        length += PyArray_STRIDE(array, axis) * (PyArray_DIM(array, axis) - 1);
    return length;
  };
  if (longest == 0) return false;
  npy_intp distance = (PyArray_BYTES(b) - PyArray_BYTES(a)) % longest;
  if (distance < 0) distance += longest;
  return distance >= row_length(a) && distance + row_length(b) <= longest;
}

// How to get an array from what is none, in a way that shares its memory.
std::string hint_for(PyObject* object) {
  for (const char* name : {"__array_interface__", "__array__"})
    if (attribute_or_null(object, name))
      return "; pass numpy.asarray(...), if that shares its memory";
  return "";
}

}  // namespace

void import_numpy() {
  if (_import_array() < 0) throw PythonError{};
  const auto attribute = [](const char* module, const char* name) {
    const Object imported = Object::made(PyImport_ImportModule(module));
    return Object::made(PyObject_GetAttrString(imported.ptr(), name)).release();
  };
  numpy.masked_array = attribute("numpy.ma", "MaskedArray");
  numpy.matrix = attribute("numpy", "matrix");
  numpy.shares_memory = attribute("numpy", "shares_memory");
  numpy.from_dlpack = attribute("numpy", "from_dlpack");
  constexpr unsigned numpy_2_1 = 0x13;
  if (PyArray_GetNDArrayCFeatureVersion() >= numpy_2_1)
    numpy.no_copy = Object::made(Py_BuildValue("{sO}", "copy", Py_False)).release();
  const Object top = Object::made(PyImport_ImportModule("numpy"));
  const bool has_exceptions = PyObject_HasAttrString(top.ptr(), "exceptions") == 1;
  numpy.too_hard = attribute(has_exceptions ? "numpy.exceptions" : "numpy", "TooHardError");
}

std::string integers(const npy_intp* values, int count) {
  std::string text = "(";
  for (int i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(values[i]);
  return text + (count == 1 ? ",)" : ")");
}

std::string shape_of(PyArrayObject* array) {
  return integers(PyArray_DIMS(array), PyArray_NDIM(array));
}

std::string dtype_of(PyArrayObject* array) {
  return text_of(reinterpret_cast<PyObject*>(PyArray_DESCR(array)));
}

std::string why_not_plain(PyObject* object) {
  if (!PyArray_Check(object)) return type_of(object) + hint_for(object);
  const auto is_a = [&](PyObject* type) {  // whatever it gives out to be
    return PyObject_TypeCheck(object, reinterpret_cast<PyTypeObject*>(type)) != 0;
  };
  if (is_a(numpy.masked_array)) return "a masked array; its .data is one";
  if (is_a(numpy.matrix)) return "a matrix; its .A is one";
  return "";
}

Span span_of(PyArrayObject* array) {
  const auto data = reinterpret_cast<std::uintptr_t>(PyArray_DATA(array));
  std::uintptr_t begin = data, end = data + PyArray_ITEMSIZE(array);
  for (int axis = 0; axis < PyArray_NDIM(array); ++axis) {
    const npy_intp reach = PyArray_STRIDE(array, axis) * (PyArray_DIM(array, axis) - 1);
    (reach < 0 ? begin : end) += reach;
  }
  return Span{begin, end, owner_of(array), 0, 0, false};
}

// Keeps the garbage collector from running code of the user's (finalizers, weak references).
class NoCollection {
 public:
  NoCollection() : was_enabled_(PyGC_Disable()) {}
  ~NoCollection() {
    if (was_enabled_) PyGC_Enable();
  }
  NoCollection(const NoCollection&) = delete;
  NoCollection& operator=(const NoCollection&) = delete;

 private:
  int was_enabled_;
};

bool share_memory(PyArrayObject* a, PyArrayObject* b) {
  if (PyArray_IS_C_CONTIGUOUS(a) && PyArray_IS_C_CONTIGUOUS(b)) return true;
  if (rows_interleave(a, b)) return false;
  constexpr long long max_work = 10000;  // beyond this it gives up with an exception
  const NoCollection here;
  const auto plain = [](PyArrayObject* array) {
    return Object::made(PyArray_View(array, nullptr, &PyArray_Type));
  };
  const Object answer = Object::steal(
      PyObject_CallFunction(numpy.shares_memory, "OOL", plain(a).ptr(), plain(b).ptr(), max_work));
  if (!answer) {
    if (!PyErr_ExceptionMatches(numpy.too_hard)) throw PythonError{};
    PyErr_Clear();
    return true;
  }
  return answer.ptr() != Py_False;
}

Object array_from_dlpack(PyObject* object) {
  const Object arguments = Object::made(PyTuple_Pack(1, object));
  return Object::steal(PyObject_Call(numpy.from_dlpack, arguments.ptr(), numpy.no_copy));
}

Object array_of_scalar(PyObject* object, PyArrayObject* like) {
  if (PyArray_IsScalar(object, Floating)) return Object::made(PyArray_FromScalar(object, nullptr));
  const bool is_int = PyLong_CheckExact(object);
  if (!is_int && !PyFloat_CheckExact(object)) return {};
  const double value = is_int ? PyLong_AsDouble(object) : PyFloat_AS_DOUBLE(object);
  if (value == -1 && PyErr_Occurred()) {  // too large for any
    PyErr_Clear();
    return {};
  }
  Object made = Object::made(PyArray_SimpleNew(0, nullptr, PyArray_TYPE(like)));
  void* data = PyArray_DATA(as_array(made.ptr()));
  if (dtype_known(like) == Dtype::float32)
    *static_cast<float*>(data) = static_cast<float>(value);
  else
    *static_cast<double*>(data) = value;
  return made;
}

bool is_same_memory(PyObject* a, PyObject* b) {
  if (a == b) return true;
  if (!PyArray_Check(a) || !PyArray_Check(b)) return false;
  PyArrayObject *first = as_array(a), *second = as_array(b);
  return PyArray_DATA(first) == PyArray_DATA(second) && have_one_shape(first, second) &&
         PyArray_TYPE(first) == PyArray_TYPE(second) &&
         PyArray_CompareLists(PyArray_STRIDES(first), PyArray_STRIDES(second), PyArray_NDIM(first));
}

std::uint8_t* packed_bits(const char* function, const char* name, PyObject* array,
                          std::int64_t elements) {
  const npy_intp size = packed_size(elements);
  const std::string wanted = std::string(function) + ": " + name +
                             " must have packed bits: contiguous uint8 of shape " +
                             integers(&size, 1) + ", it is ";
  if (!PyArray_Check(array)) raise_type_error(wanted + type_of(array));
  PyArrayObject* bits = as_array(array);
  if (PyArray_TYPE(bits) != NPY_UINT8) raise_type_error(wanted + dtype_of(bits));
  if (PyArray_NDIM(bits) != 1 || PyArray_DIM(bits, 0) != size)
    raise_value_error(wanted + "of shape " + shape_of(bits));
  if (!PyArray_IS_C_CONTIGUOUS(bits)) raise_value_error(wanted + "not contiguous");
  return static_cast<std::uint8_t*>(PyArray_DATA(as_array(array)));
}

Layout layout_of(PyArrayObject* array) {
  Layout layout;
  layout.axes = PyArray_NDIM(array);
  std::copy_n(PyArray_DIMS(array), layout.axes, layout.shape);
  std::copy_n(PyArray_STRIDES(array), layout.axes, layout.strides[Streams::param]);
  return layout;
}

}  // namespace fastopt
