#include "arrays.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "errors.hpp"
#include "masks.hpp"
#include "numpy_array.hpp"
#include "option_reader.hpp"

namespace fastopt {

const ItemSizes& item_sizes(Dtype dtype) {
  static_assert(Streams::count == 8);
  static constexpr ItemSizes of_float32{4, 4, 1, 1, 4, 4, 4, 4}, of_float64{8, 8, 1, 1, 8, 8, 8, 8};
  return dtype == Dtype::float32 ? of_float32 : of_float64;
}

Streams Tensor::at(std::int64_t begin) const {
  Streams moved = streams;
  const ItemSizes& sizes = item_sizes(dtype);
  for (int s = 0; s < Streams::count; ++s)
    if (moved.at[s])
      moved.at[s] =
          static_cast<char*>(moved.at[s]) + (packed >> s & 1 ? begin / 8 : begin * sizes[s]);
  return moved;
}

class TensorList::Collector final : public LeafVisitor {
 public:
  Collector(const char* function, const Arguments& arguments, std::int64_t alignment,
            TensorList& list)
      : function_(function),
        arguments_(arguments.arrays),
        count_(arguments.count),
        given_penalties_(arguments.penalties),
        drop_(arguments.drop),
        alignment_(alignment),
        list_(list) {
    for (int i = 0; i < count_; ++i) {
      trees_[i] = arguments_[i].tree;
      streams_[i] = arguments_[i].stream;
    }
    if (!given_penalties_) return;
    for (int id = 0; id < Penalties::count; ++id) {
      const Penalty& penalty = given_penalties_->at[id];
      penalties_[id] = penalty.value;
      if (!penalty.tree) continue;
      penalty_trees_[tree_count_] = id;
      trees_[count_ + tree_count_++] = {penalty.name, "", penalty.tree, /*prefix=*/true};
    }
  }

  void collect() {
    walk_trees(function_, trees_, count_ + tree_count_, *this);
    if (find_overlap(list_.spans_, list_.scratch_, share_memory, this))
      raise_value_error(here() + name_of(list_.spans_[0]) + " and " + name_of(list_.spans_[1]) +
                        " overlap in memory");
  }

  void leaf(PyObject* const* nodes, const Path& path) override {
    path_ = &path;
    nodes_ = nodes;
    // Numbers first: they may run code of the user's, which must not come between the checks of the
    // arrays and their use.
    for (int i = 0; i < tree_count_; ++i) read_penalty(i);
    for (int i = 0; i < count_; ++i)
      if (!is_absent(i)) check(i);
    for (int i = 0; i < count_; ++i) list_.kept_.push_back(Py_NewRef(nodes[i]));
    Tensor* tensor = list_.add(nodes, streams_, count_, entries_, alignment_, drop_);
    if (tensor) std::copy_n(penalties_, int(Penalties::count), tensor->penalties);
    for (int i = 0; i < count_ && tensor; ++i) {
      if (is_absent(i)) continue;
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

  // An entry may do without a mask.
  bool is_absent(int i) const {
    return nodes_[i] == Py_None && Streams::is_mask(arguments_[i].stream);
  }

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

  void read_penalty(int i) {
    PyObject* given = nodes_[count_ + i];
    double& value = penalties_[penalty_trees_[i]];
    if (PyFloat_CheckExact(given)) {
      value = PyFloat_AS_DOUBLE(given);
      if (std::isfinite(value) && value >= 0) return;  // no need to make its name
    }
    value = to_number(function_, name(count_ + i).c_str(), Range::non_negative, given);
  }

  // A subclass is welcome if it is nothing but a view of memory.
  void check_class(int i) const {
    if (const std::string wrong = why_not_plain(nodes_[i]); !wrong.empty())
      raise_type_error(here() + name(i) + " must be a NumPy array, not " + wrong);
  }

  void check_dtype(int i) const {
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
    } else if (type != param_type || !native) {
      raise_type_error(here() + name(i) + " has dtype " + dtype_of(array(i)) + ", " + name(0) +
                       " has " + dtype_of(array(0)));
    }
  }

  void check_shape(int i) const {
    if (have_one_shape(array(0), array(i))) return;
    const npy_intp packed = packed_size(PyArray_SIZE(array(0)));
    const bool is_mask = Streams::is_mask(arguments_[i].stream);
    const bool is_packed = is_mask && PyArray_TYPE(array(i)) == NPY_UINT8 &&
                           PyArray_NDIM(array(i)) == 1 && PyArray_DIM(array(i), 0) == packed;
    if (is_packed && PyArray_IS_C_CONTIGUOUS(array(i))) return;
    if (is_packed)
      raise_value_error(here() + name(i) + " has packed bits, which must be contiguous");
    raise_value_error(
        here() + name(i) + " has shape " + shape_of(array(i)) + ", " + name(0) + " has " +
        shape_of(array(0)) +
        (is_mask ? "; in packed bits (uint8), it would be " + integers(&packed, 1) : ""));
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
    return fastopt::share_memory(as_array(self.list_.kept_[a.entry * self.count_ + a.argument]),
                                 as_array(self.list_.kept_[b.entry * self.count_ + b.argument]));
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
  const Penalties* given_penalties_;
  const DropoutStream* drop_;
  double penalties_[Penalties::count] = {};  // of what the walk is at
  int penalty_trees_[Penalties::count];      // which of them is a tree
  int tree_count_ = 0;
  std::int64_t alignment_;
  TensorList& list_;
  NamedTree trees_[max_trees];
  int streams_[max_trees];
  std::int32_t entries_ = 0;
  const Path* path_ = nullptr;
  PyObject* const* nodes_ = nullptr;
};

void TensorList::collect(const char* function, const Arguments& arguments, std::int64_t alignment) {
  clear();
  arguments_ = arguments.count;
  Collector(function, arguments, alignment, *this).collect();
}

void TensorList::take_argument(const char* function, const TensorList& other, int argument,
                               std::int64_t alignment) {
  clear();
  const int stream = Streams::param;
  for (std::size_t i = argument, entry = 0; i < other.kept_.size();
       i += other.arguments_, ++entry) {
    // Since it was checked, comparing the keys of later entries may have run code of the user's.
    const int type = PyArray_TYPE(as_array(other.kept_[i]));
    if (type != NPY_FLOAT32 && type != NPY_FLOAT64)
      raise_value_error(std::string(function) + ": an array changed while it was read");
    add(&other.kept_[i], &stream, 1, static_cast<int>(entry), alignment);
  }
}

Tensor* TensorList::add(PyObject* const* arrays, const int* streams, int count, int entry,
                        std::int64_t alignment, const DropoutStream* drop) {
  PyArrayObject* first = as_array(arrays[0]);
  Tensor tensor{};
  tensor.size = PyArray_SIZE(first);
  if (tensor.size == 0) return nullptr;
  bool contiguous = true;
  for (int i = 0; i < count; ++i) {
    if (arrays[i] == Py_None) continue;
    PyArrayObject* array = as_array(arrays[i]);
    tensor.streams.at[streams[i]] = PyArray_DATA(array);
    contiguous = contiguous && PyArray_IS_C_CONTIGUOUS(array);
    if (Streams::is_mask(streams[i]) && !have_one_shape(first, array))
      tensor.packed |= 1u << streams[i];
  }
  tensor.offset = extent;
  tensor.entry = entry;
  tensor.dtype = PyArray_TYPE(first) == NPY_FLOAT32 ? Dtype::float32 : Dtype::float64;
  tensor.layout = contiguous ? -1 : add_layout(arrays, streams, count, tensor, drop);
  tensors.push_back(tensor);
  has_[int(tensor.dtype)] = true;
  elements += tensor.size;
  extent += (tensor.size + alignment - 1) / alignment * alignment;
  return &tensors.back();
}

int TensorList::add_layout(PyObject* const* arrays, const int* streams, int count, Tensor& tensor,
                           const DropoutStream* drop) {
  layouts.emplace_back();
  Layout& layout = layouts.back();
  layout.axes = PyArray_NDIM(as_array(arrays[0]));
  std::copy_n(PyArray_DIMS(as_array(arrays[0])), layout.axes, layout.shape);
  const auto set_mask = [&](int stream, std::uint8_t* mask) {
    tensor.streams.at[stream] = mask;
    tensor.packed &= ~(1u << stream);
    std::int64_t stride = 1;
    for (int axis = layout.axes - 1; axis >= 0; --axis) {
      layout.strides[stream][axis] = stride;
      stride *= layout.shape[axis];
    }
  };
  for (int i = 0; i < count; ++i) {
    if (arrays[i] == Py_None) continue;
    PyArrayObject* array = as_array(arrays[i]);
    if (tensor.packed >> streams[i] & 1) {
      std::uint8_t* mask = new_mask(tensor.size);
      const auto* bits = static_cast<const std::uint8_t*>(PyArray_DATA(array));
      current_table().unpack_bits(bits, packed_size(tensor.size), mask);
      set_mask(streams[i], mask);
    } else {
      std::copy_n(PyArray_STRIDES(array), layout.axes, layout.strides[streams[i]]);
    }
  }
  if (drop) {
    std::uint8_t* mask = new_mask(tensor.size);
    for (std::int64_t begin = 0; begin < tensor.size; begin += keep_block)
      current_table().philox_keep(drop->of_entry(tensor.entry), begin / keep_block, mask + begin);
    set_mask(Streams::mask, mask);
  }
  if (!layout.simplify(tensor.streams, item_sizes(tensor.dtype)))
    return static_cast<int>(layouts.size()) - 1;
  layouts.pop_back();
  return -1;
}

// Bits and random numbers know the order of an array's elements alone, not that of its memory.
std::uint8_t* TensorList::new_mask(std::int64_t size) {
  const std::int64_t whole_blocks = (size + keep_block - 1) / keep_block * keep_block;
  masks_.push_back(std::unique_ptr<std::uint8_t[]>(new std::uint8_t[whole_blocks]));
  return masks_.back().get();
}

void TensorList::clear() {
  for (PyObject* object : kept_) Py_DECREF(object);
  kept_.clear();
  spans_.clear();
  masks_.clear();
  tensors.clear();
  layouts.clear();
  constexpr std::size_t many =
      256;  // at 4 KB each; not worth keeping for a step that is large anyway
  if (layouts.capacity() > many) layouts.shrink_to_fit();
  elements = extent = 0;
  std::fill(std::begin(has_), std::end(has_), false);
}

}  // namespace fastopt
