// One way through the elements of a tensor, whether it is contiguous or not.
#pragma once
#include <algorithm>

#include "arrays.hpp"

namespace fastopt {

// Calls work(streams, first, count) with contiguous streams for elements [begin, end): once where
// the tensor is contiguous, else tile by tile, and stores the streams that have a bit in `written`.
template <class Work>
void for_each_tile(const TensorList& list, const Tensor& tensor, std::int64_t begin,
                   std::int64_t end, unsigned written, const Work& work) {
  if (tensor.layout < 0) return work(tensor.at(begin), begin, end - begin);
  const Layout& layout = list.layouts[tensor.layout];
  for (; begin < end; begin += Tile::size) {
    const std::int64_t count = std::min(Tile::size, end - begin);
    const Tile tile(layout, tensor.streams, item_sizes(tensor.dtype), begin, count);
    work(tile.streams, begin, count);
    tile.write_back(written);
  }
}

}  // namespace fastopt
