#include "collection.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <utility>

#include "../python/errors.hpp"
#include "../python/numbers.hpp"
#include "dlpack.hpp"
#include "known.hpp"

namespace fastopt {
namespace {

constexpr int gradient = 1;  // of the arguments, in a step

const std::int64_t* as_int64(const npy_intp* of_array) {
  static_assert(sizeof(npy_intp) == sizeof(std::int64_t));
  return reinterpret_cast<const std::int64_t*>(of_array);
}

void note_factors(Tensors& tensors, Tensor& tensor, PyArrayObject* param) {
  if (!tensor.factors[0] && !tensors.for_matrices) return;
  tensors.note_factors(tensor, PyArray_NDIM(param), as_int64(PyArray_DIMS(param)),
                       as_int64(PyArray_STRIDES(param)));
}

}  // namespace

class Collection::Collector {
 public:
  Collector(const Arguments& arguments, Collection& collection)
      : arguments_(arguments),
        known_(arguments.known),
        to_(collection),
        named_by_(arguments.arrays[0].tree),
        checks_(arguments.function, arguments.arrays, named_by_),
        trees_count_(arguments.count) {
    if (arguments.named_by) named_by_.root = arguments.named_by;
    for (int i = 0; i < arguments.count; ++i) {
      trees_[i] = arguments.arrays[i].tree;
      // A whole branch is frozen, has no gradient or no mask; not a whole function's.
      const bool may_be_missing = arguments.division && i == gradient && trees_[i].root != Py_None;
      trees_[i].none_for_all = (known_ && i > 0) || may_be_missing;
      streams_[i] = arguments.arrays[i].stream;
    }
    for (int i = 0; arguments.penalties && i < penalties; ++i) {
      const PenaltyTree& penalty = arguments.penalties[i];
      if (!penalty.tree) continue;
      place_[i] = trees_count_++;
      trees_[place_[i]] = {penalty.name, "", penalty.tree, /*prefix=*/true};
    }
    if (arguments.averages) {
      place_of_averages_ = trees_count_++;
      trees_[place_of_averages_] = {"ema", "", arguments.averages};
    }
    if (!arguments.numbers) return;
    to_.place_of_numbers_ = trees_count_++;
    trees_[to_.place_of_numbers_] = {"step", "state.", arguments.numbers};
  }

  // Code of the user's may run while trees and numbers are read, not between the checks of the
  // arrays and their use.
  void collect() {
    to_.clear();
    to_.tensors.for_matrices = arguments_.matrices;
    to_.leaves_.read(arguments_.function, trees_, trees_count_);
    if (arguments_.penalties) read_penalties();
    if (arguments_.division) parts_ = arguments_.division->divide(to_);
    if (known_ && to_.entries() != known_->entries())
      raise_value_error(checks_.here() + "params has " + std::to_string(to_.entries()) +
                        " arrays, it had " + std::to_string(known_->entries()) +
                        " when the optimizer was made" +
                        (to_.entries() > known_->entries() ? "; params= takes new ones" : ""));
    view_tensors();
    for (int entry = 0; entry < to_.entries(); ++entry) known_ ? add_known(entry) : add_new(entry);
    if (find_overlap(to_.spans_, to_.scratch_, share_memory, &to_))
      raise_value_error(checks_.here() + name_of(to_.spans_[0]) + " and " + name_of(to_.spans_[1]) +
                        " overlap in memory");
  }

 private:
  static constexpr int penalties = 4;
  static_assert(sizeof(Penalties) == penalties * sizeof(double));
  // Numbers come where nothing is known, averages that are looked at where it is.
  static_assert(Streams::all + penalties + 1 <= max_trees);

  // Puts arrays that share their memory in place of tensors of other libraries. Those of which
  // there can be none are left to the checks, and gradients for which a glance will be enough.
  void view_tensors() {
    if (known_) known_->look_at_slow_ones(checks_);
    to_.glanced_.assign(known_ ? to_.entries() : 0, nullptr);
    for (int entry = 0; entry < to_.entries(); ++entry)
      for (int i = known_ ? 1 : 0; i < arguments_.count; ++i) {
        PyObject* node = to_.nodes(entry)[i];
        if (PyArray_Check(node) || node == Py_None || !offers_dlpack(node)) continue;
        if (known_ && i == gradient && glance_at_tensor(entry)) continue;
        view_tensor(entry, i);
      }
    if (!aliases_ && to_.viewed_.empty() && !(known_ && known_->has_slow_ones())) return;
    // Any code may have run. What it did to the tensors before is looked at again.
    std::fill(to_.glanced_.begin(), to_.glanced_.end(), nullptr);
    for (const auto& [place, given] : to_.viewed_)
      if (!lies_as(given.ptr(), as_array(*place))) raise_moved(place);
  }

  [[noreturn]] void raise_moved(PyObject* const* place) const {
    int entry = 0;
    while (to_.nodes(entry) + arguments_.count <= place) ++entry;
    const auto i = static_cast<int>(place - to_.nodes(entry));
    raise_value_error(checks_.here() + checks_.name_of_entry(i, entry) +
                      " was given other memory while it was read");
  }

  // Looks whether a gradient is surely right; returns its memory then.
  void* glance(int entry, PyObject* node) {
    void*& data = to_.glanced_[entry];
    const bool may = arguments_.count == 2 && !arguments_.arrays[gradient].written;
    if (!data && may) data = known_->at_a_glance(entry, node);
    return data;
  }

  // While kernels run without the GIL, another thread may give a tensor other memory: an alias
  // holds what it has now.
  bool glance_at_tensor(int entry) {
    Object node = Object::borrow(to_.nodes(entry)[gradient]);
    if (!known_->is_large()) return glance(entry, node.ptr()) != nullptr;
    Object alias = alias_of(node.ptr());
    if (!alias) return false;
    aliases_ = true;
    to_.leaves_.replace(entry, gradient, std::move(alias));
    if (glance(entry, to_.nodes(entry)[gradient])) return true;
    to_.leaves_.replace(entry, gradient, std::move(node));
    return false;
  }

  void view_tensor(int entry, int i) {
    std::string why;
    Object node = Object::borrow(to_.nodes(entry)[i]);
    Object view = view_of(node.ptr(), why);
    if (!view) return;
    to_.leaves_.replace(entry, i, std::move(view));
    to_.viewed_.emplace_back(to_.nodes(entry) + i, std::move(node));
  }

  void add_new(int entry) {
    PyObject* const* nodes = to_.nodes(entry);
    checks_.turn_to(nodes, entry);
    if (is_left_out(entry)) return checks_.check_kind(0);
    if (checks_.is_absent(0)) return;
    check_from(0, entry);
    Tensor* tensor = add_arrays(to_.tensors, nodes, streams_, arguments_.count, entry,
                                arguments_.alignment, arguments_.drop);
    if (tensor && parts_) tensor->group = parts_[entry];
    finish(tensor, entry);
  }

  bool is_left_out(int entry) const { return parts_ && parts_[entry] < 0; }

  void add_known(int number) {
    PyObject* const* nodes = to_.nodes(number);
    const KnownArrays::Entry& entry = known_->entry(number);
    const bool left_out = arguments_.frozen[entry.group] != 0 || is_left_out(number);
    PyObject* average = place_of_averages_ ? nodes[place_of_averages_] : nullptr;
    known_->check_unchanged(number, nodes[0], average, left_out, checks_);
    if (left_out) return;
    Tensor* tensor;
    if (void* data = glance(number, nodes[gradient])) {
      ++to_.glances_;
      tensor = &to_.tensors.add(entry.tensor);
      tensor->streams.at[Streams::grad] = data;
      note_factors(to_.tensors, *tensor, as_array(known_->array(entry, 0)));
    } else {
      if (nodes[0] != known_->array(entry, 0))  // a tensor
        to_.leaves_.replace(number, 0, Object::borrow(known_->array(entry, 0)));
      checks_.turn_to(nodes, number);
      check_from(1, number);
      tensor = add_with_known(nodes, entry, number);
    }
    if (tensor) tensor->group = parts_ ? parts_[number] : entry.group;
    finish(tensor, number);
  }

  Tensor* add_with_known(PyObject* const* nodes, const KnownArrays::Entry& entry, int number) {
    PyObject* arrays[Streams::all];
    int streams[Streams::all];
    int count = arguments_.count;
    std::copy_n(nodes, count, arrays);
    std::copy_n(streams_, count, streams);
    for (int i = 1; i < entry.count; ++i) {  // the first is nodes[0]
      streams[count] = known_->stream(entry, i);
      arrays[count++] = known_->array(entry, i);
    }
    return add_arrays(to_.tensors, arrays, streams, count, number, arguments_.alignment,
                      arguments_.drop);
  }

  void check_from(int first, int entry) {
    for (int i = first; i < arguments_.count; ++i) {
      if (i == gradient && arguments_.division) take_scalar(entry);
      if (!checks_.is_absent(i)) checks_.check(i);
    }
    // Overlaps are looked for among those that are written and all others: of what is known, in
    // the memory that it is known to have.
    const bool among_all = !known_ || arguments_.arrays[1].written;
    for (int i = first; i < arguments_.count; ++i) {
      if (checks_.is_absent(i) || PyArray_SIZE(checks_.array(i)) == 0) continue;
      if (known_) known_->check_apart(checks_.array(i), checks_, i);
      if (!among_all) continue;
      Span span = span_of(checks_.array(i));
      span.entry = entry;
      span.argument = i;
      span.written = arguments_.arrays[i].written;
      to_.spans_.push_back(span);
    }
  }

  // The gradient of a parameter without axes may be a scalar, as a sum of NumPy's is: it is only
  // read, from an array that holds it for this call.
  void take_scalar(int entry) {
    PyObject* const* nodes = to_.nodes(entry);
    if (PyArray_Check(nodes[gradient]) || arguments_.arrays[gradient].written) return;
    if (PyArray_NDIM(as_array(nodes[0])) != 0) return;
    Object array = array_of_scalar(nodes[gradient], as_array(nodes[0]));
    if (array) to_.leaves_.replace(entry, gradient, std::move(array));
  }

  void finish(Tensor* tensor, int entry) {
    if (!tensor) return;
    to_.has_[int(tensor->dtype)] = true;
    if (arguments_.penalties)
      tensor->penalties = &to_.penalties_[to_.penalties_.size() > 1 ? entry : 0];
  }

  void read_penalties() {
    const PenaltyTree* given = arguments_.penalties;
    const Penalties same{given[0].number, given[1].number, given[2].number, given[3].number};
    bool trees = false;
    for (int i = 0; i < penalties; ++i) trees = trees || given[i].tree;
    to_.penalties_.assign(trees ? to_.entries() : 1, same);
    for (int i = 0; i < penalties; ++i)
      for (int entry = 0; arguments_.penalties[i].tree && entry < to_.entries(); ++entry)
        to_.penalties_[entry].*strengths[i] =
            read_penalty(arguments_.penalties[i].name, place_[i], entry);
  }

  static constexpr double Penalties::* strengths[penalties] = {
      &Penalties::l1, &Penalties::l2, &Penalties::weight_decay, &Penalties::l1_prox};

  double read_penalty(const char* penalty, int tree, int entry) const {
    PyObject* given = to_.nodes(entry)[tree];
    if (PyFloat_CheckExact(given)) {
      const double value = PyFloat_AS_DOUBLE(given);
      if (std::isfinite(value) && value >= 0) return value;  // no need to make its name
    }
    const std::string name = penalty + path_of_leaf(named_by_, entry);
    return to_number(arguments_.function, name.c_str(), Range::non_negative, given);
  }

  std::string name_of(const Span& span) const {
    return checks_.name_of_entry(span.argument, span.entry);
  }

  const Arguments& arguments_;
  const KnownArrays* known_;
  Collection& to_;
  NamedTree named_by_;
  ArrayChecks checks_;
  int trees_count_;
  const int* parts_ = nullptr;
  bool aliases_ = false;       // of gradients were made
  int place_of_averages_ = 0;  // among all trees; 0 if there are none
  int place_[penalties];       // of each penalty that is a tree, among all trees
  NamedTree trees_[max_trees];
  int streams_[max_trees];
};

void Collection::collect(const Arguments& arguments) { Collector(arguments, *this).collect(); }

void Collection::take_gradients(const Arguments& arguments, std::int64_t alignment,
                                Tensors& to) const {
  to.clear();
  int places[Streams::count], streams[Streams::count];
  int count = 0;
  for (int i = 0; i < arguments.count; ++i) {
    const int stream = arguments.arrays[i].stream;
    if (stream != Streams::grad && !Streams::is_mask(stream)) continue;
    places[count] = i;
    streams[count++] = stream == Streams::grad ? Streams::param : stream;
  }
  for (const Tensor& tensor : tensors.all) {
    if (!PyArray_Check(nodes(tensor.entry)[gradient])) {  // taken at a glance: it is contiguous
      Tensor alone = tensor;
      alone.streams = {};
      alone.streams.at[Streams::param] = tensor.streams.at[Streams::grad];
      to.add(alone, alignment);
      continue;
    }
    PyObject* arrays[Streams::count];
    for (int i = 0; i < count; ++i) arrays[i] = nodes(tensor.entry)[places[i]];
    add_arrays(to, arrays, streams, count, tensor.entry, alignment, arguments.drop);
  }
}

bool Collection::share_memory(void* self, const Span& a, const Span& b) {
  const auto& collection = *static_cast<Collection*>(self);
  return fastopt::share_memory(as_array(collection.nodes(a.entry)[a.argument]),
                               as_array(collection.nodes(b.entry)[b.argument]));
}

PyObject* Collection::given(int entry, int i) const {
  PyObject* const* place = nodes(entry) + i;
  const auto found = std::lower_bound(viewed_.begin(), viewed_.end(), place,
                                      [](const auto& one, auto at) { return one.first < at; });
  return found != viewed_.end() && found->first == place ? found->second.ptr() : *place;
}

void Collection::clear() {
  viewed_.clear();
  leaves_.clear();
  tensors.clear();
  penalties_.clear();
  spans_.clear();
  glances_ = 0;
  std::fill(std::begin(has_), std::end(has_), false);
}

Tensor* add_arrays(Tensors& tensors, PyObject* const* arrays, const int* streams, int count,
                   int entry, std::int64_t alignment, const DropoutStream* drop) {
  PyArrayObject* first = as_array(arrays[0]);
  Tensor tensor{};
  tensor.size = PyArray_SIZE(first);
  tensor.entry = entry;
  tensor.dtype = dtype_known(first);
  tensor.layout = -1;
  StridedArray strided[Streams::count];
  int strided_count = 0;
  bool contiguous = true;
  for (int i = 0; i < count; ++i) {
    if (i > 0 && arrays[i] == Py_None) continue;
    PyArrayObject* array = as_array(arrays[i]);
    if (Streams::is_number(streams[i])) {
      tensor.numbers[streams[i] - Streams::first_number] =
          static_cast<double*>(PyArray_DATA(array));
      continue;
    }
    if (Streams::is_factor(streams[i])) {
      tensor.factors[streams[i] - Streams::first_factor] = PyArray_DATA(array);
      continue;
    }
    tensor.streams.at[streams[i]] = PyArray_DATA(array);
    contiguous = contiguous && PyArray_IS_C_CONTIGUOUS(array);
    if (Streams::is_mask(streams[i]) && !have_one_shape(first, array))
      tensor.packed |= 1u << streams[i];
    strided[strided_count++] = {streams[i], PyArray_DATA(array), as_int64(PyArray_STRIDES(array))};
  }
  if (tensor.size == 0) {
    if (!tensor.numbers[0]) return nullptr;
    tensors.empty.push_back(tensor);
    return &tensors.empty.back();
  }
  Tensor& added = contiguous
                      ? tensors.add(tensor, alignment)
                      : tensors.add(tensor, PyArray_NDIM(first), as_int64(PyArray_DIMS(first)),
                                    strided, strided_count, alignment, drop);
  note_factors(tensors, added, first);
  return &added;
}

}  // namespace fastopt
