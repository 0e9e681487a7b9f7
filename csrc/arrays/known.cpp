#include "known.hpp"

#include <algorithm>

#include "../python/errors.hpp"
#include "../python/gil.hpp"
#include "dlpack.hpp"

namespace fastopt {

KnownArrays::KnownArrays(const Arguments& arguments, const std::vector<int>& group_of_entry)
    : groups_(group_of_entry), guesses_(new std::atomic<std::size_t>[group_of_entry.size()]()) {
  for (const int group : groups_) {
    if (std::size_t(group) >= group_sizes_.size()) group_sizes_.resize(group + 1);
    ++group_sizes_[group];
  }
  for (int i = 0; i < arguments.count; ++i) {
    roles_.push_back({arguments.arrays[i].tree, arguments.arrays[i].stream});
    written_ |= 1u << arguments.arrays[i].stream;
  }
  Collection collection;
  collection.collect(arguments);
  if (std::size_t(collection.entries()) != group_of_entry.size())
    raise_value_error(std::string(arguments.function) + ": params changed while it was read");
  auto tensor = collection.tensors.all.begin();
  for (int number = 0; number < collection.entries(); ++number) {
    PyObject* const* nodes = collection.nodes(number);
    Entry entry{group_of_entry[number],
                known_.size(),
                0,
                false,
                {},
                std::size_t(PyArray_NBYTES(as_array(nodes[0])))};
    bool contiguous = true;
    for (int i = 0; i < arguments.count; ++i) {
      if (nodes[i] == Py_None) continue;
      add(nodes[i], collection.given(number, i), i);
      contiguous = contiguous && PyArray_IS_C_CONTIGUOUS(as_array(nodes[i]));
    }
    entry.count = static_cast<int>(known_.size() - entry.first);
    if (tensor != collection.tensors.all.end() && tensor->entry == number) {
      entry.contiguous = contiguous;
      entry.tensor = *tensor++;
      entry.tensor.group = entry.group;
    }
    entries_.push_back(entry);
  }
  is_large_ = collection.tensors.elements >= release_threshold;
  note_blocks();
}

void KnownArrays::add(PyObject* object, PyObject* given, int role) {
  PyArrayObject* array = as_array(object);
  const int axes = PyArray_NDIM(array);
  DLTensor tensor;
  const bool slow = given != object && !read_tensor(given, tensor);
  any_slow_ = any_slow_ || slow;
  known_.push_back({object, given, PyArray_DATA(array), PyArray_DESCR(array), extents_.size(), axes,
                    PyArray_FLAGS(array) & relevant_flags, role, slow});
  extents_.insert(extents_.end(), PyArray_DIMS(array), PyArray_DIMS(array) + axes);
  extents_.insert(extents_.end(), PyArray_STRIDES(array), PyArray_STRIDES(array) + axes);
  held_.push_back(Object::borrow(object));
  held_.push_back(Object::borrow(given));
  held_.push_back(Object::borrow(reinterpret_cast<PyObject*>(PyArray_DESCR(array))));
}

void KnownArrays::note_blocks() {
  for (const Known& known : known_) {
    if (PyArray_SIZE(as_array(known.array)) == 0) continue;
    const Span span = span_of(as_array(known.array));
    blocks_.push_back({span.begin, span.end});
  }
  std::sort(blocks_.begin(), blocks_.end(),
            [](const Block& a, const Block& b) { return a.begin < b.begin; });
  std::size_t last = 0;
  for (std::size_t i = 1; i < blocks_.size(); ++i) {
    if (blocks_[i].begin < blocks_[last].end)
      blocks_[last].end = std::max(blocks_[last].end, blocks_[i].end);
    else
      blocks_[++last] = blocks_[i];
  }
  if (!blocks_.empty()) blocks_.resize(last + 1);
}

// Without reading further than needed: contiguous arrays have the strides of their shape.
bool KnownArrays::is_as_it_was(const Known& known, int flags_that_count) const {
  PyArrayObject* now = as_array(known.array);
  const npy_intp* before = extents(known);
  return has_its_memory(known) && PyArray_DATA(now) == known.data &&
         PyArray_DESCR(now) == known.dtype &&
         ((PyArray_FLAGS(now) ^ known.flags) & flags_that_count) == 0 &&
         has_shape(now, before, known.axes) &&
         (known.flags & NPY_ARRAY_C_CONTIGUOUS ||
          std::equal(before + known.axes, before + 2 * known.axes, PyArray_STRIDES(now)));
}

// A tensor can be given other memory, that of another one. (Of slow ones this was looked at.)
bool KnownArrays::has_its_memory(const Known& known) {
  return known.given == known.array || lies_as(known.given, as_array(known.array));
}

bool KnownArrays::has_its_memory_by_view(const Known& known) {
  std::string why;
  const Object view = view_of(known.given, why);
  return view && is_same_memory(view.ptr(), known.array);
}

bool KnownArrays::has_param(int number, PyObject* param) const {
  const Known& known = known_[entries_[number].first];
  return known.given == param && has_its_memory(known) &&
         (!known.slow || has_its_memory_by_view(known));
}

void KnownArrays::look_at_slow_ones(const ArrayChecks& checks) const {
  for (int number = 0; any_slow_ && number < entries(); ++number)
    for (int i = 0; i < entries_[number].count; ++i) {
      const Known& known = known_[entries_[number].first + i];
      if (known.slow && !has_its_memory_by_view(known))
        raise_changed(known, name_of(known, number, checks), 0);
    }
}

void KnownArrays::check_unchanged(int number, PyObject* param, PyObject* average, bool frozen,
                                  const ArrayChecks& checks) const {
  const Entry& entry = entries_[number];
  const Known* known = &known_[entry.first];
  if (param != known->given)
    raise_is_another(checks.here() + checks.name_of_entry(0, number),
                     ", or give the new ones as params=");
  const Known& last = known[entry.count - 1];
  if (average && average != last.given) raise_is_another(name_of(last, number, checks), "");
  const int flags = frozen ? relevant_flags & ~NPY_ARRAY_WRITEABLE : relevant_flags;
  for (int i = 0; i < entry.count; ++i)
    if (!is_as_it_was(known[i], flags))
      raise_changed(known[i], name_of(known[i], number, checks), flags);
}

void KnownArrays::raise_is_another(const std::string& name, const char* instead) const {
  raise_value_error(name +
                    " is another array than when the optimizer was made; change arrays in place "
                    "(array[...] = new)" +
                    instead);
}

void KnownArrays::raise_changed(const Known& known, const std::string& name,
                                int flags_that_count) const {
  PyArrayObject* now = as_array(known.array);
  const char* since = " when the optimizer was made";
  if (known.given != known.array)  // a tensor, whose view stays as it is
    raise_value_error(name + " has other memory than it had" + since +
                      "; give it as params= to go on with what it has");
  if (flags_that_count & NPY_ARRAY_WRITEABLE & ~PyArray_FLAGS(now))
    raise_value_error(name + " is read-only");
  if (PyArray_DESCR(now) != known.dtype)
    raise_type_error(name + " has dtype " + dtype_of(now) + ", it had " +
                     text_of(reinterpret_cast<PyObject*>(known.dtype)) + since);
  if (!has_shape(now, extents(known), known.axes))
    raise_value_error(name + " has shape " + shape_of(now) + ", it had " +
                      integers(extents(known), known.axes) + since);
  raise_value_error(name + " lies elsewhere in memory than it did" + since);
}

bool KnownArrays::is_apart(std::uintptr_t begin, std::uintptr_t end,
                           std::atomic<std::size_t>& guess) const {
  const auto is_between = [&](std::size_t after) {  // block after - 1 and block `after`
    return (after == 0 || blocks_[after - 1].end <= begin) &&
           (after == blocks_.size() || end <= blocks_[after].begin);
  };
  if (is_between(guess.load(std::memory_order_relaxed))) return true;
  const auto found = std::partition_point(blocks_.begin(), blocks_.end(),
                                          [&](const Block& block) { return block.end <= begin; });
  const auto place = static_cast<std::size_t>(found - blocks_.begin());
  guess.store(place, std::memory_order_relaxed);
  return is_between(place);
}

void* KnownArrays::at_a_glance(int number, PyObject* grad) const {
  const Entry& entry = entries_[number];
  const Known& param = known_[entry.first];
  if (!entry.contiguous) return nullptr;
  void* data = PyArray_CheckExact(grad) ? data_of_array(param, as_array(grad))
                                        : data_of_tensor(as_array(param.array), grad);
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  return data && is_apart(begin, begin + entry.bytes, guesses_[number]) ? data : nullptr;
}

// The memory of a gradient with the dtype and shape of its parameter, if it is contiguous.
void* KnownArrays::data_of_array(const Known& param, PyArrayObject* grad) const {
  const bool fits = PyArray_DESCR(grad) == param.dtype &&
                    (PyArray_FLAGS(grad) & relevant_flags) == relevant_flags &&
                    has_shape(grad, extents(param), param.axes);
  return fits ? PyArray_DATA(grad) : nullptr;
}

// Of a tensor. One with a single element is contiguous also where it is a lazily negated part of
// complex numbers, which only a view tells.
void* KnownArrays::data_of_tensor(PyArrayObject* param, PyObject* grad) const {
  DLTensor tensor;
  if (PyArray_SIZE(param) < 2 || !read_tensor(grad, tensor) || !is_contiguous_like(tensor, param))
    return nullptr;
  const auto begin = reinterpret_cast<std::uintptr_t>(tensor.begin());
  return begin % PyArray_ITEMSIZE(param) == 0 ? tensor.begin() : nullptr;
}

void KnownArrays::check_apart(PyArrayObject* array, const ArrayChecks& checks, int i) const {
  const Span span = span_of(array);
  std::atomic<std::size_t> anywhere{0};
  if (is_apart(span.begin, span.end, anywhere)) return;
  for (int number = 0; number < entries(); ++number)
    for (int k = 0; k < entries_[number].count; ++k) {
      const Known& known = known_[entries_[number].first + k];
      PyArrayObject* other = as_array(known.array);
      if (PyArray_SIZE(other) == 0) continue;
      const Span its = span_of(other);
      if (its.begin < span.end && span.begin < its.end && share_memory(other, array))
        raise_value_error(checks.here() + checks.name(i) + " and " +
                          checks.name_of(roles_[known.role].name, number) + " overlap in memory");
    }
}

void KnownArrays::clear_params() const {
  for (const Entry& entry : entries_) PyArray_FILLWBYTE(as_array(known_[entry.first].array), 0);
}

}  // namespace fastopt
