#include "arrays.hpp"

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>

#include <algorithm>
#include <string>

#include "errors.hpp"

namespace fastopt {
namespace {

PyArrayObject* as_array(PyObject* object) { return reinterpret_cast<PyArrayObject*>(object); }

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

// What the checks need of NumPy's Python side. Looked up at import: an import in the middle of a
// step could make threads wait for each other.
struct {
  PyObject *masked_array, *matrix, *shares_memory, *too_hard;
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

Span span_of(PyArrayObject* array) {
  const auto data = reinterpret_cast<std::uintptr_t>(PyArray_DATA(array));
  std::uintptr_t begin = data, end = data + PyArray_ITEMSIZE(array);
  for (int axis = 0; axis < PyArray_NDIM(array); ++axis) {
    const npy_intp reach = PyArray_STRIDE(array, axis) * (PyArray_DIM(array, axis) - 1);
    (reach < 0 ? begin : end) += reach;
  }
  return Span{begin, end, owner_of(array), 0, 0, false};
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

}  // namespace

const ItemSizes& item_sizes(Dtype dtype) {
  static constexpr ItemSizes of_float32{4, 4, 1, 4, 4, 4, 4}, of_float64{8, 8, 1, 8, 8, 8, 8};
  return dtype == Dtype::float32 ? of_float32 : of_float64;
}

class TensorList::Collector final : public LeafVisitor {
 public:
  Collector(const char* function, const ArrayArgument* arguments, int count, std::int64_t alignment,
            TensorList& list)
      : function_(function),
        arguments_(arguments),
        count_(count),
        alignment_(alignment),
        list_(list) {
    for (int i = 0; i < count; ++i) {
      trees_[i] = arguments[i].tree;
      streams_[i] = arguments[i].stream;
    }
  }

  void collect() {
    walk_trees(function_, trees_, count_, *this);
    if (find_overlap(list_.spans_, list_.scratch_, share_memory, this))
      raise_value_error(here() + name_of(list_.spans_[0]) + " and " + name_of(list_.spans_[1]) +
                        " overlap in memory");
  }

  void leaf(PyObject* const* nodes, const Path& path) override {
    path_ = &path;
    nodes_ = nodes;
    for (int i = 0; i < count_; ++i) check(i);
    for (int i = 0; i < count_; ++i) list_.kept_.push_back(Py_NewRef(nodes[i]));
    list_.add(nodes, streams_, count_, entries_, alignment_);
    const bool empty = PyArray_SIZE(array(0)) == 0;  // all have one shape
    for (int i = 0; i < count_ && !empty; ++i) {
      Span span = span_of(array(i));
      span.entry = entries_;
      span.argument = i;
      span.written = arguments_[i].written;
      list_.spans_.push_back(span);
    }
    ++entries_;
  }

 private:
  PyArrayObject* array(int argument) const { return as_array(nodes_[argument]); }

  void check(int i) const {
    if (!PyArray_CheckExact(nodes_[i])) check_class(i);
    check_dtype(i);
    const int flags = PyArray_FLAGS(array(i));
    if (i > 0) check_shape(i);
    if (!(flags & NPY_ARRAY_ALIGNED))
      raise_value_error(here() + name(i) + " is not aligned in memory for its dtype");
    if (arguments_[i].written) {
      if (!(flags & NPY_ARRAY_WRITEABLE)) raise_value_error(here() + name(i) + " is read-only");
      if (!(flags & NPY_ARRAY_C_CONTIGUOUS)) check_written_once(i);
    }
  }

  // A subclass is welcome if it is nothing but a view of memory.
  void check_class(int i) const {
    PyObject* node = nodes_[i];
    if (!PyArray_Check(node))
      raise_type_error(here() + name(i) + " must be a NumPy array, not " + type_of(node));
    if (is_instance(node, numpy.masked_array))
      raise_type_error(here() + name(i) + " must be a NumPy array, not a masked array; its .data " +
                       "is one");
    if (is_instance(node, numpy.matrix))
      raise_type_error(here() + name(i) + " must be a NumPy array, not a matrix; its .A is one");
  }

  void check_dtype(int i) const {
    const int type = PyArray_TYPE(array(i)), param_type = PyArray_TYPE(array(0));
    const bool native = PyArray_ISNOTSWAPPED(array(i));
    if (arguments_[i].stream == Streams::mask) {
      if (type != NPY_BOOL && type != NPY_UINT8)
        raise_type_error(here() + name(i) + " has dtype " + dtype_of(array(i)) +
                         ", it must be bool or uint8");
    } else if (i == 0) {
      if ((type != NPY_FLOAT32 && type != NPY_FLOAT64) || !native)
        raise_type_error(here() + name(0) + " has dtype " + dtype_of(array(0)) +
                         ", it must be float32 or float64 in native byte order");
    } else if (type != param_type || !native) {
      raise_type_error(here() + name(i) + " has dtype " + dtype_of(array(i)) + ", " + name(0) +
                       " has " + dtype_of(array(0)));
    }
  }

  void check_shape(int i) const {
    const int axes = PyArray_NDIM(array(0));
    if (PyArray_NDIM(array(i)) != axes ||
        !PyArray_CompareLists(PyArray_DIMS(array(0)), PyArray_DIMS(array(i)), axes))
      raise_value_error(here() + name(i) + " has shape " + shape_of(array(i)) + ", " + name(0) +
                        " has " + shape_of(array(0)));
  }

  void check_written_once(int i) const {
    std::int64_t shape[NPY_MAXDIMS], strides[NPY_MAXDIMS];
    const int axes = PyArray_NDIM(array(i));
    std::copy_n(PyArray_DIMS(array(i)), axes, shape);
    std::copy_n(PyArray_STRIDES(array(i)), axes, strides);
    if (may_overlap_itself(axes, shape, strides, PyArray_ITEMSIZE(array(i))))
      raise_value_error(here() + name(i) + " overlaps itself in memory (shape " +
                        shape_of(array(i)) + ", strides " +
                        integers(PyArray_STRIDES(array(i)), axes) + "), as broadcast views do");
  }

  static bool share_memory(void* context, const Span& a, const Span& b) {
    const auto& self = *static_cast<Collector*>(context);
    PyObject* first = self.list_.kept_[a.entry * self.count_ + a.argument];
    PyObject* second = self.list_.kept_[b.entry * self.count_ + b.argument];
    if (PyArray_IS_C_CONTIGUOUS(as_array(first)) && PyArray_IS_C_CONTIGUOUS(as_array(second)))
      return true;
    if (rows_interleave(as_array(first), as_array(second))) return false;
    constexpr long long max_work = 10000;  // beyond this it gives up with an exception
    PyObject* answer = PyObject_CallFunction(numpy.shares_memory, "OOL", first, second, max_work);
    if (!answer) {
      if (!PyErr_ExceptionMatches(numpy.too_hard)) throw pybind11::error_already_set();
      PyErr_Clear();
      return true;
    }
    Py_DECREF(answer);
    return answer != Py_False;
  }

  std::string here() const { return std::string(function_) + ": "; }

  // The name of what the walk is at, and of what it has passed.
  std::string name(int argument) const { return trees_[argument].name_of(*path_); }

  std::string name_of(const Span& span) const {
    const NamedTree& tree = trees_[span.argument];
    return tree.belongs_to + (tree.name + path_of_leaf(trees_[0], span.entry));
  }

  const char* function_;
  const ArrayArgument* arguments_;
  int count_;
  std::int64_t alignment_;
  TensorList& list_;
  NamedTree trees_[max_trees];
  int streams_[max_trees];
  std::int32_t entries_ = 0;
  const Path* path_ = nullptr;
  PyObject* const* nodes_ = nullptr;
};

void TensorList::collect(const char* function, const ArrayArgument* arguments, int count,
                         std::int64_t alignment) {
  clear();
  arguments_ = count;
  Collector(function, arguments, count, alignment, *this).collect();
}

void TensorList::take_argument(const TensorList& other, int argument, std::int64_t alignment) {
  clear();
  const int stream = Streams::param;
  for (std::size_t i = argument, entry = 0; i < other.kept_.size(); i += other.arguments_, ++entry)
    add(&other.kept_[i], &stream, 1, static_cast<int>(entry), alignment);
}

void TensorList::add(PyObject* const* arrays, const int* streams, int count, int entry,
                     std::int64_t alignment) {
  PyArrayObject* first = as_array(arrays[0]);
  Tensor tensor{};
  tensor.size = PyArray_SIZE(first);
  if (tensor.size == 0) return;
  bool contiguous = true;
  for (int i = 0; i < count; ++i) {
    tensor.streams.at[streams[i]] = PyArray_DATA(as_array(arrays[i]));
    contiguous = contiguous && PyArray_IS_C_CONTIGUOUS(as_array(arrays[i]));
  }
  tensor.offset = extent;
  tensor.entry = entry;
  tensor.dtype = PyArray_TYPE(first) == NPY_FLOAT32 ? Dtype::float32 : Dtype::float64;
  tensor.layout = contiguous ? -1 : add_layout(arrays, streams, count, tensor);
  tensors.push_back(tensor);
  has_[int(tensor.dtype)] = true;
  elements += tensor.size;
  extent += (tensor.size + alignment - 1) / alignment * alignment;
}

int TensorList::add_layout(PyObject* const* arrays, const int* streams, int count, Tensor& tensor) {
  layouts.emplace_back();
  Layout& layout = layouts.back();
  layout.axes = PyArray_NDIM(as_array(arrays[0]));
  std::copy_n(PyArray_DIMS(as_array(arrays[0])), layout.axes, layout.shape);
  for (int i = 0; i < count; ++i)
    std::copy_n(PyArray_STRIDES(as_array(arrays[i])), layout.axes, layout.strides[streams[i]]);
  if (!layout.simplify(tensor.streams, item_sizes(tensor.dtype)))
    return static_cast<int>(layouts.size()) - 1;
  layouts.pop_back();
  return -1;
}

void TensorList::clear() {
  for (PyObject* object : kept_) Py_DECREF(object);
  kept_.clear();
  spans_.clear();
  tensors.clear();
  layouts.clear();
  constexpr std::size_t many =
      256;  // at 4 KB each; not worth keeping for a step that is large anyway
  if (layouts.capacity() > many) layouts.shrink_to_fit();
  elements = extent = 0;
  std::fill(std::begin(has_), std::end(has_), false);
}

void import_numpy() {
  if (_import_array() < 0) throw pybind11::error_already_set();
  const auto attribute = [](const char* module, const char* name) {
    return pybind11::object(pybind11::module_::import(module).attr(name)).release().ptr();
  };
  numpy.masked_array = attribute("numpy.ma", "MaskedArray");
  numpy.matrix = attribute("numpy", "matrix");
  numpy.shares_memory = attribute("numpy", "shares_memory");
  const bool has_exceptions = pybind11::hasattr(pybind11::module_::import("numpy"), "exceptions");
  numpy.too_hard = attribute(has_exceptions ? "numpy.exceptions" : "numpy", "TooHardError");
}

}  // namespace fastopt
