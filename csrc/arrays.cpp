#include "arrays.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "array_checks.hpp"
#include "errors.hpp"
#include "masks.hpp"
#include "option_reader.hpp"

namespace fastopt {

const ItemSizes& item_sizes(Dtype dtype) {
  static_assert(Streams::count == 8);
  static constexpr ItemSizes of_float32{4, 4, 1, 1, 4, 4, 4, 4}, of_float64{8, 8, 1, 1, 8, 8, 8, 8};
  return dtype == Dtype::float32 ? of_float32 : of_float64;
}

Streams Tensor::at(std::int64_t begin) const {
  Streams moved = streams;
  if (begin == 0) return moved;
  const ItemSizes& sizes = item_sizes(dtype);
  for (int s = 0; s < Streams::count; ++s)
    if (moved.at[s])
      moved.at[s] =
          static_cast<char*>(moved.at[s]) + (packed >> s & 1 ? begin / 8 : begin * sizes[s]);
  return moved;
}

class TensorList::Collector {
 public:
  Collector(const char* function, const Arguments& arguments, std::int64_t alignment,
            TensorList& list)
      : function_(function),
        arguments_(arguments),
        alignment_(alignment),
        list_(list),
        checks_(function, arguments.arrays) {
    for (int i = 0; i < arguments_.count; ++i) {
      trees_[i] = arguments_.arrays[i].tree;
      streams_[i] = arguments_.arrays[i].stream;
    }
    if (!arguments_.penalties) return;
    for (int id = 0; id < Penalties::count; ++id) {
      const Penalty& penalty = arguments_.penalties->at[id];
      if (!penalty.tree) continue;
      penalty_trees_[tree_count_] = id;
      trees_[arguments_.count + tree_count_++] = {penalty.name, "", penalty.tree, /*prefix=*/true};
    }
  }

  // Code of the user's may run while trees and numbers are read, not between the checks of the
  // arrays and their use.
  void collect() {
    list_.read(function_, trees_, arguments_.count + tree_count_);
    if (arguments_.penalties) read_penalties();
    for (int entry = 0; entry < list_.entries(); ++entry) check_and_add(entry);
    if (list_.find_overlap())
      raise_value_error(checks_.here() + name_of(list_.spans()[0]) + " and " +
                        name_of(list_.spans()[1]) + " overlap in memory");
  }

 private:
  void check_and_add(int entry) {
    PyObject* const* nodes = list_.nodes(entry);
    checks_.turn_to(nodes, entry);
    for (int i = 0; i < arguments_.count; ++i)
      if (!checks_.is_absent(i)) checks_.check(i);
    Tensor* tensor =
        list_.add(nodes, streams_, arguments_.count, entry, alignment_, arguments_.drop);
    if (!tensor) return;
    if (arguments_.penalties) tensor->penalties = &list_.penalties_[tree_count_ > 0 ? entry : 0];
    for (int i = 0; i < arguments_.count; ++i)
      if (!checks_.is_absent(i)) list_.add_span(entry, i, arguments_.arrays[i].written);
  }

  void read_penalties() {
    const int different = tree_count_ > 0 ? list_.entries() : 1;
    list_.penalties_.assign(different, arguments_.penalties->values());
    for (int entry = 0; tree_count_ > 0 && entry < list_.entries(); ++entry)
      for (int i = 0; i < tree_count_; ++i)
        list_.penalties_[entry][penalty_trees_[i]] = read_penalty(i, entry);
  }

  double read_penalty(int i, int entry) const {
    PyObject* given = list_.nodes(entry)[arguments_.count + i];
    if (PyFloat_CheckExact(given)) {
      const double value = PyFloat_AS_DOUBLE(given);
      if (std::isfinite(value) && value >= 0) return value;  // no need to make its name
    }
    const std::string name = trees_[arguments_.count + i].name + path_of_leaf(trees_[0], entry);
    return to_number(function_, name.c_str(), Range::non_negative, given);
  }

  std::string name_of(const Span& span) const {
    return checks_.name_of_entry(span.argument, span.entry);
  }

  const char* function_;
  const Arguments& arguments_;
  int penalty_trees_[Penalties::count];  // which of them is a tree
  int tree_count_ = 0;
  std::int64_t alignment_;
  TensorList& list_;
  ArrayChecks checks_;
  NamedTree trees_[max_trees];
  int streams_[max_trees];
};

void TensorList::collect(const char* function, const Arguments& arguments, std::int64_t alignment) {
  Collector(function, arguments, alignment, *this).collect();
}

void TensorList::take_argument(const TensorList& other, int argument, std::int64_t alignment) {
  clear();
  const int stream = Streams::param;
  for (const Tensor& tensor : other.tensors) {
    PyObject* array = other.nodes(tensor.entry)[argument];
    add(&array, &stream, 1, tensor.entry, alignment);
  }
}

void TensorList::read(const char* function, const NamedTree* trees, int count) {
  clear();
  leaves_.read(function, trees, count);
}

void TensorList::add_span(int entry, int argument, bool written) {
  Span span = span_of(as_array(nodes(entry)[argument]));
  span.entry = entry;
  span.argument = argument;
  span.written = written;
  spans_.push_back(span);
}

bool TensorList::find_overlap() {
  return fastopt::find_overlap(spans_, scratch_, share_memory, this);
}

bool TensorList::share_memory(void* list, const Span& a, const Span& b) {
  const auto& self = *static_cast<TensorList*>(list);
  return fastopt::share_memory(as_array(self.nodes(a.entry)[a.argument]),
                               as_array(self.nodes(b.entry)[b.argument]));
}

Tensor* TensorList::add(PyObject* const* arrays, const int* streams, int count, int entry,
                        std::int64_t alignment, const DropoutStream* drop) {
  PyArrayObject* first = as_array(arrays[0]);
  Tensor tensor{};
  tensor.size = PyArray_SIZE(first);
  if (tensor.size == 0) return nullptr;
  bool contiguous = true;
  for (int i = 0; i < count; ++i) {
    if (i > 0 && arrays[i] == Py_None) continue;
    PyArrayObject* array = as_array(arrays[i]);
    tensor.streams.at[streams[i]] = PyArray_DATA(array);
    contiguous = contiguous && PyArray_IS_C_CONTIGUOUS(array);
    if (Streams::is_mask(streams[i]) && !have_one_shape(first, array))
      tensor.packed |= 1u << streams[i];
  }
  tensor.entry = entry;
  tensor.dtype = PyArray_TYPE(first) == NPY_FLOAT32 ? Dtype::float32 : Dtype::float64;
  tensor.layout = contiguous ? -1 : add_layout(arrays, streams, count, tensor, drop);
  return add(tensor, alignment);
}

Tensor* TensorList::add(const Tensor& tensor, std::int64_t alignment) {
  tensors.push_back(tensor);
  tensors.back().offset = extent;
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
  leaves_.clear();
  penalties_.clear();
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
