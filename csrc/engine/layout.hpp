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
