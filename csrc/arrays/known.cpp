#include "known.hpp"

#include "../python/errors.hpp"

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
      add(nodes[i], i);
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
  note_blocks();
}

void KnownArrays::add(PyObject* object, int role) {
  PyArrayObject* array = as_array(object);
  const int axes = PyArray_NDIM(array);
  known_.push_back({object, PyArray_DATA(array), PyArray_DESCR(array), extents_.size(), axes,
                    PyArray_FLAGS(array) & relevant_flags, role});
  extents_.insert(extents_.end(), PyArray_DIMS(array), PyArray_DIMS(array) + axes);
  extents_.insert(extents_.end(), PyArray_STRIDES(array), PyArray_STRIDES(array) + axes);
  held_.push_back(Object::borrow(object));
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
  return PyArray_DATA(now) == known.data && PyArray_DESCR(now) == known.dtype &&
         ((PyArray_FLAGS(now) ^ known.flags) & flags_that_count) == 0 &&
         has_shape(now, before, known.axes) &&
         (known.flags & NPY_ARRAY_C_CONTIGUOUS ||
          std::equal(before + known.axes, before + 2 * known.axes, PyArray_STRIDES(now)));
}

void KnownArrays::check_unchanged(int number, PyObject* param, PyObject* average, bool frozen,
                                  const ArrayChecks& checks) const {
  const Entry& entry = entries_[number];
  const Known* known = &known_[entry.first];
  if (param != known->array)
    raise_is_another(checks.here() + checks.name_of_entry(0, number),
                     ", or give the new ones as params=");
  const Known& last = known[entry.count - 1];
  if (average && average != last.array)
    raise_is_another(checks.here() + checks.name_of(roles_[last.role].name, number), "");
  const int flags = frozen ? relevant_flags & ~NPY_ARRAY_WRITEABLE : relevant_flags;
  for (int i = 0; i < entry.count; ++i)
    if (!is_as_it_was(known[i], flags))
      raise_changed(known[i], checks.here() + checks.name_of(roles_[known[i].role].name, number),
                    flags);
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

bool KnownArrays::fits_at_a_glance(int number, PyObject* grad) const {
  const Entry& entry = entries_[number];
  const Known& param = known_[entry.first];
  if (!entry.contiguous || !PyArray_CheckExact(grad)) return false;
  PyArrayObject* array = as_array(grad);
  if (PyArray_DESCR(array) != param.dtype ||
      (PyArray_FLAGS(array) & relevant_flags) != relevant_flags ||
      !has_shape(array, extents(param), param.axes))
    return false;
  const auto begin = reinterpret_cast<std::uintptr_t>(PyArray_DATA(array));
  return is_apart(begin, begin + entry.bytes, guesses_[number]);
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
