// Arrays that are not contiguous. They pass through small contiguous buffers, a tile at a time, so
// that the one loop serves them too.
#pragma once
#include <cstdint>

#include "streams.hpp"

namespace fastopt {

// How the arrays of one tensor lie in memory: one shape, a row of strides (in bytes) for each
// array.
struct Layout {
  static constexpr int max_axes = 64;  // NumPy's own limit
  int axes;
  std::int64_t shape[max_axes];
  std::int64_t strides[Streams::count][max_axes];

  // Reorders, flips and merges axes such that the parameter is walked in the order of memory. The
  // elements and their pairing stay; the streams may start elsewhere. Returns true if all streams
  // are contiguous now.
  bool simplify(Streams& streams, Dtype dtype);
};

// Lists the axes from the one with the largest steps to that with the smallest, but for those of
// length one, which say nothing. Returns how many there are.
int order_of_memory(int axes, const std::int64_t* shape, const std::int64_t* strides, int* order);

// A place in an index space, and the steps from one run along the last axis to the next.
class Position {
 public:
  Position(int axes, const std::int64_t* shape, std::int64_t element) : axes_(axes), shape_(shape) {
    for (int axis = axes - 1; axis >= 0; --axis) {
      index_[axis] = element % shape[axis];
      element /= shape[axis];
    }
  }

  std::int64_t left_in_run() const { return shape_[last()] - index_[last()]; }

  std::int64_t offset(const std::int64_t* strides) const {
    std::int64_t sum = 0;
    for (int axis = 0; axis < axes_; ++axis) sum += index_[axis] * strides[axis];
    return sum;
  }

  void advance(std::int64_t count) {  // by no more than left_in_run()
    index_[last()] += count;
    for (int axis = last(); axis > 0 && index_[axis] == shape_[axis]; --axis) {
      index_[axis] = 0;
      ++index_[axis - 1];
    }
  }

 private:
  int last() const { return axes_ - 1; }

  int axes_;
  const std::int64_t* shape_;
  std::int64_t index_[Layout::max_axes];
};

// True if two indices of an array may denote the same place, as in broadcast views. (Sliding
// windows whose elements happen to miss each other are taken for overlapping.)
bool may_overlap_itself(int axes, const std::int64_t* shape, const std::int64_t* strides,
                        std::int64_t item_size);

// Copies the elements [begin, end) of one stream into a buffer.
void gather(const Layout& layout, const Streams& streams, int stream, Dtype dtype,
            std::int64_t begin, std::int64_t end, void* buffer);

// A few elements of every stream of a tensor, copied into contiguous buffers for a kernel.
class Tile {
 public:
  static constexpr std::int64_t size = 512;  // all streams fit the first-level cache, doubles too

  // Gathers the elements [begin, begin + count) of a tensor, count <= size.
  Tile(const Layout& layout, const Streams& arrays, Dtype dtype, std::int64_t begin,
       std::int64_t count);

  // Copies the streams that have a bit in `written` back to their arrays.
  void write_back(unsigned written) const;

  Streams streams{};  // the buffers

 private:
  const Layout& layout_;
  const Streams& arrays_;
  Dtype dtype_;
  std::int64_t begin_, count_;
  alignas(64) char buffers_[Streams::count][size * sizeof(double)];
};

}  // namespace fastopt
