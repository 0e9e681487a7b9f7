// Trees of arrays go in, a flat list of tensors comes out, or an exception names what is wrong.
#pragma once
#include <Python.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "isa/isa.hpp"
#include "layout.hpp"
#include "overlap.hpp"
#include "step_options.hpp"
#include "streams.hpp"
#include "tree.hpp"

namespace fastopt {

static_assert(int(Streams::count) + int(Penalties::count) <= max_trees);

// An argument of a step that holds arrays.
struct ArrayArgument {
  NamedTree tree;
  int stream;    // where its arrays go in Streams
  bool written;  // an output; otherwise it is only read
};

// What a call passes besides the name of the function. arrays[0] is params, whose structure the
// others must have.
struct Arguments {
  const ArrayArgument* arrays;
  int count;
  const Penalties* penalties = nullptr;
  const DropoutStream* drop = nullptr;  // of the first entry; every further one has the next offset
};

// One array of the parameters with what belongs to it.
struct Tensor {
  Streams streams;
  std::int64_t size;    // elements
  std::int64_t offset;  // where it begins in the index space that the whole list shares
  Dtype dtype;
  int layout;       // index into TensorList::layouts, or -1 where all streams are contiguous
  int entry;        // which leaf of the trees it is; empty arrays are leaves, but no tensors
  int group;        // which of the groups of a step it belongs to
  unsigned packed;  // a bit for each stream that is a mask in packed bits
  const Penalties::Values* penalties;  // null where the call has none

  // Where element `begin` is in every stream. The tensor must be contiguous, and where masks are in
  // packed bits, `begin` a multiple of 8.
  Streams at(std::int64_t begin) const;
};

// What threads share out among them. Between tensors it may have gaps.
struct IndexSpace {
  std::int64_t elements, extent;
};

// All tensors of a call. It keeps the arrays alive, because kernels run without the GIL. Reuse it:
// a step on small arrays should not allocate.
class TensorList {
 public:
  std::vector<Tensor> tensors;
  std::vector<Layout> layouts;
  std::int64_t elements = 0;  // the sum of the sizes
  std::int64_t extent = 0;    // the end of the index space

  IndexSpace index_space() const { return {elements, extent}; }

  bool has(Dtype dtype) const { return has_[int(dtype)]; }

  // Leaves of the trees, empty arrays among them.
  int entries() const { return leaves_.entries(); }

  // Checks all arguments against each other and fills the list. Tensors begin at multiples of
  // `alignment` in the index space, so that cutting the space into chunks cuts arrays at multiples
  // of it. Throws with nothing changed. Needs the GIL.
  void collect(const char* function, const Arguments& arguments,
               std::int64_t alignment = keep_block);

  // Calls visit(tensor, from, to) for the elements of every tensor that lie in [begin, end) of the
  // index space.
  template <class Visit>
  void for_each_piece(std::int64_t begin, std::int64_t end, const Visit& visit) const {
    auto tensor = std::upper_bound(tensors.begin(), tensors.end(), begin,
                                   [](std::int64_t at, const Tensor& t) { return at < t.offset; });
    for (--tensor; tensor != tensors.end() && tensor->offset < end; ++tensor) {
      const std::int64_t from = std::max<std::int64_t>(begin - tensor->offset, 0);
      const std::int64_t to = std::min(end - tensor->offset, tensor->size);
      if (from < to) visit(*tensor, from, to);
    }
  }

  // Takes the arrays of one argument alone from a list that was collected, as Streams::param, in
  // the order of that list. It must not outlive that list.
  void take_argument(const TensorList& other, int argument, std::int64_t alignment);

  void clear();

  // What fills the list. First, all that may run code of the user's: reads the trees and holds
  // what is in them.
  void read(const char* function, const NamedTree* trees, int count);
  PyObject* const* nodes(int entry) const { return leaves_.of(entry); }

  // Adds the arrays of an entry, which must have been checked, each to its stream. Returns null
  // where they are empty.
  Tensor* add(PyObject* const* arrays, const int* streams, int count, int entry,
              std::int64_t alignment, const DropoutStream* drop = nullptr);

  // Adds a tensor that has been in a list before and is contiguous, at its next place in this one.
  Tensor* add(const Tensor& tensor, std::int64_t alignment);

  // Notes the memory of an array that was read, for find_overlap.
  void add_span(int entry, int argument, bool written);

  // Returns true if arrays overlap that must not; spans()[0] and [1] are of two such.
  bool find_overlap();
  const std::vector<Span>& spans() const { return spans_; }

  ~TensorList() { clear(); }
  TensorList() = default;
  TensorList(const TensorList&) = delete;
  TensorList& operator=(const TensorList&) = delete;

 private:
  class Collector;
  static bool share_memory(void* list, const Span& a, const Span& b);
  int add_layout(PyObject* const* arrays, const int* streams, int count, Tensor& tensor,
                 const DropoutStream* drop);
  std::uint8_t* new_mask(std::int64_t size);

  Leaves leaves_;
  bool has_[int(Dtype::count)] = {};
  std::vector<Penalties::Values> penalties_;  // of every entry; of one, where all have the same
  std::vector<Span> spans_;
  std::vector<std::uintptr_t> scratch_;
  std::vector<std::unique_ptr<std::uint8_t[]>> masks_;  // of arrays that are not contiguous
};

const ItemSizes& item_sizes(Dtype dtype);

}  // namespace fastopt
