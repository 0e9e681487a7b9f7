#include "plan.hpp"

#include <algorithm>

#ifndef _WIN32
#include <pthread.h>
#endif

#include "errors.hpp"

namespace fastopt {
namespace {

Object attribute(PyObject* object, PyObject* name) {
  return Object::made(PyObject_GetAttr(object, name));
}

// Counts the forks that led here, from 1.
std::atomic<int> process{1};

void count_forks() {
#ifndef _WIN32
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { process.fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(registered);
#endif
}

}  // namespace

Plan::Known::Known(PyObject* object, std::vector<npy_intp>& all_extents)
    : array(object),
      data(PyArray_DATA(as_array(object))),
      dtype(PyArray_DESCR(as_array(object))),
      extents(all_extents.size()),
      axes(PyArray_NDIM(as_array(object))),
      flags(PyArray_FLAGS(as_array(object)) & relevant_flags) {
  PyArrayObject* now = as_array(object);
  all_extents.insert(all_extents.end(), PyArray_DIMS(now), PyArray_DIMS(now) + axes);
  all_extents.insert(all_extents.end(), PyArray_STRIDES(now), PyArray_STRIDES(now) + axes);
}

void Plan::raise_changed(std::size_t number, const std::string& path, int flags_that_count) const {
  const Known& known = known_[number];
  const NamedTree& name = roles_[number].name;
  const npy_intp* before = extents_.data() + known.extents;
  PyArrayObject* now = as_array(known.array);
  const std::string array_name = function_ + ": " + name.belongs_to + name.name + path;
  const char* since = " when the optimizer was made";
  if (flags_that_count & NPY_ARRAY_WRITEABLE & ~PyArray_FLAGS(now))
    raise_value_error(array_name + " is read-only");
  if (PyArray_DESCR(now) != known.dtype)
    raise_type_error(array_name + " has dtype " + dtype_of(now) + ", it had " +
                     text_of(reinterpret_cast<PyObject*>(known.dtype)) + since);
  if (!has_shape(now, before, known.axes))
    raise_value_error(array_name + " has shape " + shape_of(now) + ", it had " +
                      integers(before, known.axes) + since);
  raise_value_error(array_name + " lies elsewhere in memory than it did" + since);
}

Plan::Plan(std::string function, Object params, const std::vector<int>& group_of_entry,
           PyObject* states, const StateNames& names, PyObject* ema, Object count_array)
    : function_(std::move(function)),
      params_(std::move(params)),
      count_array_(std::move(count_array)),
      count_(only_element(count_array_.ptr())),
      has_ema_(ema != Py_None),
      hints_(new std::atomic<std::size_t>[group_of_entry.size()]()) {
  count_forks();
  const ArrayArgument argument{{"params", "", params_.ptr()}, Streams::param, true};
  TensorList checked;
  checked.collect(function_.c_str(), {&argument, 1});
  if (std::size_t(checked.entries()) != group_of_entry.size())
    raise_value_error(function_ + ": params changed while it was read");
  const int count = static_cast<int>(PyList_GET_SIZE(states));
  for (int g = 0; g < count; ++g)
    add_group(g, count, Object::made(PySequence_GetItem(states, g)), names);
  if (has_ema_) written_ |= 1u << Streams::ema;
  std::vector<std::size_t> of_group(count, 0);
  for (std::size_t k = 0; k < group_of_entry.size(); ++k) {
    const int g = group_of_entry[k];
    const Object average = has_ema_ ? Object::made(PySequence_GetItem(ema, k)) : Object();
    add_entry(checked.nodes(static_cast<int>(k))[0], g, of_group.at(g)++, names, average.ptr());
  }
  note_blocks();
}

void Plan::add_group(int number, int groups, Object state, const StateNames& names) {
  Group group;
  group.function = function_;
  if (groups > 1) group.function += ": groups[" + std::to_string(number) + "]";
  for (int i = 0; i < names.count; ++i) {
    group.arrays[i] = attribute(state.ptr(), names.interned[i]);
    const bool present = !group.arrays[i].is_none();
    if (i >= names.required) group.variant = 2 * group.variant + present;
  }
  if (names.count > 0) {
    group.state_type = Py_TYPE(state.ptr());
    group.state = std::move(state);
  }
  groups_.push_back(std::move(group));
}

void Plan::add_entry(PyObject* param, int of_group, std::size_t number_in_group,
                     const StateNames& names, PyObject* average) {
  Group& group = groups_.at(of_group);
  Object nodes[Streams::count];
  ArrayArgument arguments[Streams::count];
  int count = 0;
  const auto take = [&](PyObject* array, NamedTree name, int stream) {
    nodes[count] = Object::borrow(array);
    arguments[count] = {name, stream, true};
    arguments[count++].tree.root = array;
  };
  take(param, {"params", ""}, Streams::param);
  int stream = Streams::first_state;
  for (int i = 0; i < names.count; ++i) {
    if (group.arrays[i].is_none()) continue;
    PyObject* arrays = group.arrays[i].ptr();
    if (!PyTuple_Check(arrays) || number_in_group >= std::size_t(PyTuple_GET_SIZE(arrays)))
      raise_type_error(function_ + ": state." + names.names[i] + " must be a tuple of all arrays");
    take(PyTuple_GET_ITEM(arrays, number_in_group), {names.names[i], "state."}, stream++);
  }
  if (average) take(average, {"ema", ""}, Streams::ema);
  TensorList list;
  list.collect(function_.c_str(), {arguments, count});
  Entry entry{
      of_group, known_.size(), count, false, {}, std::size_t(PyArray_NBYTES(as_array(param)))};
  if (!list.tensors.empty() && list.tensors[0].layout < 0) {
    entry.tensor = list.tensors[0];
    entry.tensor.entry = static_cast<int>(entries_.size());
    entry.contiguous = true;
  }
  for (int i = 0; i < count; ++i) {
    PyArrayObject* array = as_array(nodes[i].ptr());
    if (!PyArray_IS_C_CONTIGUOUS(array)) entry.contiguous = false;
    written_ |= 1u << arguments[i].stream;
    known_.emplace_back(nodes[i].ptr(), extents_);
    roles_.push_back({arguments[i].tree, arguments[i].stream});
    held_.push_back(nodes[i]);
    held_.push_back(Object::borrow(reinterpret_cast<PyObject*>(known_.back().dtype)));
  }
  entry.tensor.group = of_group;
  group.has[int(PyArray_TYPE(as_array(param)) == NPY_FLOAT32 ? Dtype::float32 : Dtype::float64)] =
      true;
  entries_.push_back(entry);
}

void Plan::note_blocks() {
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

bool Plan::is_apart(std::uintptr_t begin, std::uintptr_t end,
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

const Plan::Known* Plan::find_overlap(PyArrayObject* array) const {
  const Span span = span_of(array);
  std::atomic<std::size_t> anywhere{0};
  if (is_apart(span.begin, span.end, anywhere)) return nullptr;
  for (const Known& known : known_) {
    PyArrayObject* other = as_array(known.array);
    if (PyArray_SIZE(other) == 0) continue;
    const Span its = span_of(other);
    if (its.begin < span.end && span.begin < its.end && share_memory(other, array)) return &known;
  }
  return nullptr;
}

Plan::Turn::Turn(const Plan& plan, const char* function) : plan_(plan) {
  if (plan.taken_.exchange(process) == process)
    raise_runtime_error(std::string(function) +
                        ": another call of the same optimizer is under way");
}

void Plan::Turn::end() {
  if (!ended_) plan_.taken_.store(0);
  ended_ = true;
}

void Plan::check_state(int g, const StateNames& names) const {
  const Group& group = groups_[g];
  for (int i = 0; i < names.count; ++i)
    if (attribute(group.state.ptr(), names.interned[i]).ptr() != group.arrays[i].ptr())
      raise_value_error(group.function + ": state." + names.names[i] +
                        " is another object than when the optimizer was made; its arrays may be "
                        "changed in place, not replaced");
}

class Plan::Collector {
 public:
  Collector(const Plan& plan, TensorList& list, const Arguments& arguments,
            const GroupPenalties& penalties)
      : plan_(plan),
        list_(list),
        arguments_(arguments),
        penalties_(penalties),
        checks_(plan.function(), arguments.arrays) {
    for (int i = 0; i < arguments.count; ++i) {
      trees_[i] = arguments.arrays[i].tree;
      trees_[i].none_for_all = i > 0;  // where a whole branch is frozen or has no mask
      streams_[i] = arguments.arrays[i].stream;
    }
  }

  // Code of the user's may run while trees are read, not between the checks of the arrays and their
  // use.
  void collect() {
    list_.read(plan_.function(), trees_, arguments_.count);
    const int before = static_cast<int>(plan_.entries_.size());
    for (int entry = 0; entry < std::min(before, list_.entries()); ++entry) check_and_add(entry);
    if (list_.entries() > before)
      raise_value_error(checks_.here() + checks_.name_of_entry(0, before) +
                        " was not there when the optimizer was made");
    if (list_.entries() < before)
      raise_value_error(checks_.here() + "params has " + std::to_string(list_.entries()) +
                        " arrays, it had " + std::to_string(before) +
                        " when the optimizer was made");
    if (list_.find_overlap()) {  // with gradients that are to be zeroed
      const auto name = [&](const Span& span) {
        return checks_.name_of_entry(span.argument, span.entry);
      };
      raise_value_error(checks_.here() + name(list_.spans()[0]) + " and " + name(list_.spans()[1]) +
                        " overlap in memory");
    }
  }

 private:
  void check_and_add(int number) {
    PyObject* const* nodes = list_.nodes(number);
    const Entry& entry = plan_.entries_[number];
    const Known* known = &plan_.known_[entry.first];
    if (nodes[0] != known->array)
      raise_value_error(checks_.here() + checks_.name_of_entry(0, number) +
                        " is another array than when the optimizer was made; change arrays in "
                        "place, as in params[...][:] = new");
    const std::optional<Penalties::Values>& penalties = penalties_[entry.group];
    // What is frozen may be read-only, but must not have moved: others are compared with where it
    // is.
    const int flags = penalties ? relevant_flags : relevant_flags & ~NPY_ARRAY_WRITEABLE;
    for (int i = 0; i < entry.count; ++i)
      if (!known[i].is_as_it_was(plan_.extents_.data() + known[i].extents, flags))
        plan_.raise_changed(entry.first + i, path_of_leaf(trees_[0], number), flags);
    if (!penalties) return;  // frozen
    Tensor* tensor;
    if (arguments_.count == 2 && entry.contiguous && is_plain(nodes[1], *known) &&
        is_apart(nodes[1], number, entry.bytes)) {
      tensor = list_.add(entry.tensor, keep_block);
      tensor->streams.at[Streams::grad] = PyArray_DATA(as_array(nodes[1]));
    } else {
      tensor = add(nodes, known, entry, number);
    }
    if (tensor) tensor->penalties = &*penalties;
  }

  // A glance that spares the checks of a gradient, in the usual case that it would pass them.
  bool is_plain(PyObject* grad, const Known& param) const {
    PyArrayObject* array = as_array(grad);
    return PyArray_CheckExact(grad) && PyArray_DESCR(array) == param.dtype &&
           (PyArray_FLAGS(array) & relevant_flags) == relevant_flags &&
           !arguments_.arrays[1].written &&
           has_shape(array, plan_.extents_.data() + param.extents, param.axes);
  }

  bool is_apart(PyObject* grad, int number, std::size_t bytes) const {
    const auto begin = reinterpret_cast<std::uintptr_t>(PyArray_DATA(as_array(grad)));
    return plan_.is_apart(begin, begin + bytes, plan_.hints_[number]);
  }

  FASTOPT_NOINLINE Tensor* add(PyObject* const* nodes, const Known* known, const Entry& entry,
                               int number) {
    check_given(nodes, number);
    PyObject* arrays[Streams::count];
    int count = arguments_.count;
    std::copy_n(nodes, count, arrays);
    for (int i = 1; i < entry.count; ++i) {  // known[0] is nodes[0]
      streams_[count] = plan_.roles_[entry.first + i].stream;
      arrays[count++] = known[i].array;
    }
    Tensor* tensor = list_.add(arrays, streams_, count, number, keep_block, arguments_.drop);
    if (tensor) tensor->group = entry.group;
    return tensor;
  }

  // Checks what comes with the step: gradients and masks.
  void check_given(PyObject* const* nodes, int number) {
    checks_.turn_to(nodes, number);
    for (int i = 1; i < arguments_.count; ++i) {
      if (checks_.is_absent(i)) continue;
      checks_.check(i);
      if (PyArray_SIZE(checks_.array(i)) == 0) continue;
      const Known* other = plan_.find_overlap(checks_.array(i));
      if (other) raise_overlap(checks_.name(i), *other);
      if (arguments_.arrays[1].written) list_.add_span(number, i, arguments_.arrays[i].written);
    }
  }

  [[noreturn]] void raise_overlap(const std::string& given, const Known& other) const {
    const std::size_t place = &other - &plan_.known_[0];
    const NamedTree& name = plan_.roles_[place].name;
    int number = 0;
    while (place >= plan_.entries_[number].first + plan_.entries_[number].count) ++number;
    raise_value_error(checks_.here() + given + " and " + name.belongs_to + name.name +
                      path_of_leaf(trees_[0], number) + " overlap in memory");
  }

  const Plan& plan_;
  TensorList& list_;
  const Arguments& arguments_;
  const GroupPenalties& penalties_;
  ArrayChecks checks_;
  NamedTree trees_[max_trees];
  int streams_[Streams::count];
};

void Plan::collect(TensorList& list, const Arguments& arguments,
                   const GroupPenalties& penalties) const {
  Collector(*this, list, arguments, penalties).collect();
}

}  // namespace fastopt
