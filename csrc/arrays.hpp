// The only place that looks inside a NumPy array: every check of one, every message about one.
// Trees of arrays go in, a flat list of tensors comes out, or an exception names what is wrong.
#pragma once
#include <Python.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "isa/isa.hpp"
#include "layout.hpp"
#include "overlap.hpp"
#include "tree.hpp"

namespace fastopt {

static_assert(Streams::count <= max_trees);

// An argument of a step that holds arrays.
struct ArrayArgument {
  NamedTree tree;
  int stream;    // where its arrays go in Streams
  bool written;  // an output; otherwise it is only read
};

// One array of the parameters with the arrays that belong to it.
struct Tensor {
  Streams streams;
  std::int64_t size;    // elements
  std::int64_t offset;  // where it begins in the index space that the whole list shares
  Dtype dtype;
  int layout;  // index into TensorList::layouts, or -1 where all streams are contiguous
  int entry;   // which leaf of the trees it is; empty arrays are leaves, but no tensors
};

// All tensors of a call. It keeps the arrays alive, because kernels run without the GIL. Reuse it:
// a step on small arrays should not allocate.
class TensorList {
 public:
  std::vector<Tensor> tensors;
  std::vector<Layout> layouts;
  std::int64_t elements = 0;  // the sum of the sizes
  std::int64_t extent = 0;    // the end of the index space

  bool has(Dtype dtype) const { return has_[int(dtype)]; }

  // Checks all arguments against each other and fills the list. arguments[0] is params; the others
  // must have its structure. Tensors begin at multiples of `alignment` in the index space, so that
  // cutting the space into chunks cuts arrays at multiples of it. Throws with nothing changed.
  // Needs the GIL.
  void collect(const char* function, const ArrayArgument* arguments, int count,
               std::int64_t alignment = 64);

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

  ~TensorList() { clear(); }
  TensorList() = default;
  TensorList(const TensorList&) = delete;
  TensorList& operator=(const TensorList&) = delete;

 private:
  class Collector;
  void add(PyObject* const* arrays, const int* streams, int count, int entry,
           std::int64_t alignment);
  int add_layout(PyObject* const* arrays, const int* streams, int count, Tensor& tensor);

  int arguments_ = 0;
  bool has_[int(Dtype::count)] = {};
  std::vector<PyObject*> kept_;
  std::vector<Span> spans_;
  std::vector<std::uintptr_t> scratch_;
};

const ItemSizes& item_sizes(Dtype dtype);

// Makes NumPy's C API available. To be called once, before anything else here.
void import_numpy();

}  // namespace fastopt
