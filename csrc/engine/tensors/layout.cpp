#include "layout.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace fastopt {
namespace {

template <class Item>
void copy_run(char* to, std::int64_t to_stride, const char* from, std::int64_t from_stride,
              std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    std::memcpy(to + i * to_stride, from + i * from_stride, sizeof(Item));
}

void copy_run(std::int64_t item_size, char* to, std::int64_t to_stride, const char* from,
              std::int64_t from_stride, std::int64_t count) {
  switch (item_size) {
    case 1:
      return copy_run<std::uint8_t>(to, to_stride, from, from_stride, count);
    case 4:
      return copy_run<std::uint32_t>(to, to_stride, from, from_stride, count);
    default:
      return copy_run<std::uint64_t>(to, to_stride, from, from_stride, count);
  }
}

enum class Direction { gather, scatter };

// Copies `count` elements from `position` on between the array of a stream and a buffer.
void copy_elements(Direction direction, char* array, char* buffer, const Layout& layout, int stream,
                   std::int64_t item_size, Position position, std::int64_t count) {
  const std::int64_t stride = layout.strides[stream][layout.axes - 1];
  while (count > 0) {
    const std::int64_t run = std::min(count, position.left_in_run());
    char* place = array + position.offset(layout.strides[stream]);
    if (direction == Direction::gather)
      copy_run(item_size, buffer, item_size, place, stride, run);
    else
      copy_run(item_size, place, stride, buffer, item_size, run);
    buffer += run * item_size;
    count -= run;
    position.advance(run);
  }
}

}  // namespace

int order_of_memory(int axes, const std::int64_t* shape, const std::int64_t* strides, int* order) {
  int kept = 0;
  for (int axis = 0; axis < axes; ++axis)
    if (shape[axis] != 1) order[kept++] = axis;
  std::sort(order, order + kept, [&](int a, int b) {  // std::stable_sort would allocate
    const auto first = std::abs(strides[a]), second = std::abs(strides[b]);
    return first != second ? first > second : a < b;
  });
  return kept;
}

bool Layout::simplify(Streams& streams, Dtype dtype) {
  int order[max_axes];
  const int kept = order_of_memory(axes, shape, strides[Streams::param], order);
  const Layout old = *this;
  axes = 0;
  for (int i = 0; i < kept; ++i) {
    const int from = order[i];
    const bool flip = old.strides[Streams::param][from] < 0;
    bool merges = axes > 0;
    for (int s = 0; s < Streams::count; ++s) {
      std::int64_t stride = old.strides[s][from];
      if (flip && streams.at[s]) {
        streams.at[s] = static_cast<char*>(streams.at[s]) + (old.shape[from] - 1) * stride;
        stride = -stride;
      }
      strides[s][axes] = stride;
      if (streams.at[s] && axes > 0)
        merges = merges && strides[s][axes - 1] == stride * old.shape[from];
    }
    if (merges) {
      shape[axes - 1] *= old.shape[from];
      for (int s = 0; s < Streams::count; ++s) strides[s][axes - 1] = strides[s][axes];
    } else {
      shape[axes++] = old.shape[from];
    }
  }
  if (axes > 1) return false;
  for (int s = 0; s < Streams::count; ++s)
    if (axes == 1 && streams.at[s] && strides[s][0] != item_size(s, dtype)) return false;
  return true;
}

bool may_overlap_itself(int axes, const std::int64_t* shape, const std::int64_t* strides,
                        std::int64_t item_size) {
  int order[Layout::max_axes];
  int kept = 0;
  for (int axis = 0; axis < axes; ++axis) {
    if (shape[axis] == 0) return false;
    if (shape[axis] != 1) order[kept++] = axis;
  }
  std::sort(order, order + kept,
            [&](int a, int b) { return std::abs(strides[a]) < std::abs(strides[b]); });
  // From the smallest stride up: one step along an axis must leave all that the axes before span.
  std::int64_t span = item_size;
  for (int i = 0; i < kept; ++i) {
    const std::int64_t stride = std::abs(strides[order[i]]);
    if (stride < span) return true;
    span += stride * (shape[order[i]] - 1);
  }
  return false;
}

void gather(const Layout& layout, const Streams& streams, int stream, Dtype dtype,
            std::int64_t begin, std::int64_t end, void* buffer) {
  copy_elements(Direction::gather, static_cast<char*>(streams.at[stream]),
                static_cast<char*>(buffer), layout, stream, item_size(stream, dtype),
                Position(layout.axes, layout.shape, begin), end - begin);
}

Tile::Tile(const Layout& layout, const Streams& arrays, Dtype dtype, std::int64_t begin,
           std::int64_t count)
    : layout_(layout), arrays_(arrays), dtype_(dtype), begin_(begin), count_(count) {
  for (int s = 0; s < Streams::count; ++s) {
    if (!arrays.at[s]) continue;
    gather(layout, arrays, s, dtype, begin, begin + count, buffers_[s]);
    streams.at[s] = buffers_[s];
  }
}

void Tile::write_back(unsigned written) const {
  for (int s = 0; s < Streams::count; ++s)
    if (arrays_.at[s] && written >> s & 1)
      copy_elements(Direction::scatter, static_cast<char*>(arrays_.at[s]),
                    static_cast<char*>(streams.at[s]), layout_, s, item_size(s, dtype_),
                    Position(layout_.axes, layout_.shape, begin_), count_);
}

}  // namespace fastopt
