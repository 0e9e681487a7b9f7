// All tensors of a call, as pointers and sizes: what threads share out among them.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "../../block.hpp"
#include "../../kernels/dropout_stream.hpp"
#include "factored.hpp"
#include "layout.hpp"
#include "streams.hpp"

namespace fastopt {

// The strengths of the penalties of a tensor.
struct Penalties {
  double l1, l2, weight_decay, l1_prox;
};

// One array of the parameters with what belongs to it.
struct Tensor {
  Streams streams;
  std::int64_t size;    // elements
  std::int64_t offset;  // where it begins in the index space that the whole list shares
  Dtype dtype;
  int layout;       // index into Tensors::layouts, or -1 where all streams are contiguous
  int entry;        // which leaf of the trees it is; empty arrays are leaves, but not in `all`
  int group;        // which of the groups of a step it belongs to
  unsigned packed;  // a bit for each stream that is a mask in packed bits
  const Penalties* penalties;             // of its own; null where those of its group hold
  void* factors[Streams::max_factors];    // its means of rows and of columns
  int factored;                           // where they are: an index into Tensors::factored
  double* numbers[Streams::max_numbers];  // of its state, which a step advances

  // Where element `begin` is in every stream. The tensor must be contiguous, and where masks are in
  // packed bits, `begin` a multiple of 8.
  Streams at(std::int64_t begin) const;
};

// How one array lies in memory: strides in bytes, one for each axis.
struct StridedArray {
  int stream;
  void* data;
  const std::int64_t* strides;
};

// Between tensors the index space may have gaps.
struct IndexSpace {
  std::int64_t elements, extent;
};

// Reuse it: a step on small arrays should not allocate.
class Tensors {
 public:
  std::vector<Tensor> all;
  std::vector<Layout> layouts;
  std::vector<RowsAndColumns> factored;
  bool for_matrices = false;  // then rows and columns are noted of all
  std::vector<Tensor> empty;  // without elements, which have numbers all the same
  std::int64_t elements = 0;  // the sum of the sizes
  std::int64_t extent = 0;    // the end of the index space

  IndexSpace index_space() const { return {elements, extent}; }

  // Adds a contiguous tensor at its next place. Tensors begin at multiples of `alignment` in the
  // index space, so that cutting the space into chunks cuts arrays at multiples of it.
  Tensor& add(const Tensor& tensor, std::int64_t alignment = block_size);

  // Adds a tensor that has not all its arrays contiguous. Its masks in packed bits, and the
  // decisions of dropout if it has some, are made beforehand, a byte for each element.
  Tensor& add(Tensor tensor, int axes, const std::int64_t* shape, const StridedArray* arrays,
              int count, std::int64_t alignment, const DropoutStream* drop);

  // Adds one whose arrays are flat, for a rule with factors or without.
  void add_flat(const Tensor& tensor, bool has_factors);

  // Notes, of a tensor that was added, of which of its rows and columns its elements are. The shape
  // and the strides are those of its parameter.
  void note_factors(Tensor& tensor, int axes, const std::int64_t* shape,
                    const std::int64_t* strides);

  // The tensor of which `steps_of` says the most, the first of these; null if that is below 0.
  template <class StepsOf>
  const Tensor* furthest(const StepsOf& steps_of) const {
    const Tensor* found = nullptr;
    double most = -1;
    for (const std::vector<Tensor>* some : {&all, &empty})
      for (const Tensor& tensor : *some) {
        const double steps = steps_of(tensor);
        const bool is_before = found && steps == most && tensor.entry < found->entry;
        if (steps <= most && !is_before) continue;
        found = &tensor;
        most = steps;
      }
    return found;
  }

  // Calls visit(tensor, from, to) for the elements of every tensor that lie in [begin, end) of the
  // index space.
  template <class Visit>
  void for_each_piece(std::int64_t begin, std::int64_t end, const Visit& visit) const {
    auto tensor = std::upper_bound(all.begin(), all.end(), begin,
                                   [](std::int64_t at, const Tensor& t) { return at < t.offset; });
    for (--tensor; tensor != all.end() && tensor->offset < end; ++tensor) {
      const std::int64_t from = std::max<std::int64_t>(begin - tensor->offset, 0);
      const std::int64_t to = std::min(end - tensor->offset, tensor->size);
      if (from < to) visit(*tensor, from, to);
    }
  }

  // Calls work(streams, first, count) with contiguous streams for elements [begin, end): once where
  // the tensor is contiguous, else tile by tile, and stores the streams with a bit in `written`.
  template <class Work>
  void for_each_tile(const Tensor& tensor, std::int64_t begin, std::int64_t end, unsigned written,
                     const Work& work) const {
    if (tensor.layout < 0) return work(tensor.at(begin), begin, end - begin);
    for (; begin < end; begin += Tile::size) {
      const std::int64_t count = std::min(Tile::size, end - begin);
      const Tile tile(layouts[tensor.layout], tensor.streams, tensor.dtype, begin, count);
      work(tile.streams, begin, count);
      tile.write_back(written);
    }
  }

  void clear();

 private:
  std::uint8_t* new_mask(std::int64_t size);

  std::vector<std::unique_ptr<std::uint8_t[]>> masks_;
};

}  // namespace fastopt
