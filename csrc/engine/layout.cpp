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

// A place in the index space of a layout, and the steps from one row (a run along the last axis) to
// the next.
class Position {
 public:
  Position(const Layout& layout, std::int64_t element) : layout_(layout) {
    for (int axis = layout.axes - 1; axis >= 0; --axis) {
      index_[axis] = element % layout.shape[axis];
      element /= layout.shape[axis];
    }
  }

  std::int64_t left_in_row() const { return layout_.shape[last()] - index_[last()]; }

  std::int64_t offset(int stream) const {
    std::int64_t bytes = 0;
    for (int axis = 0; axis < layout_.axes; ++axis)
      bytes += index_[axis] * layout_.strides[stream][axis];
    return bytes;
  }

  void advance(std::int64_t count) {  // by no more than left_in_row()
    index_[last()] += count;
    for (int axis = last(); axis > 0 && index_[axis] == layout_.shape[axis]; --axis) {
      index_[axis] = 0;
      ++index_[axis - 1];
    }
  }

 private:
  int last() const { return layout_.axes - 1; }

  const Layout& layout_;
  std::int64_t index_[Layout::max_axes];
};

enum class Direction { gather, scatter };

// Copies `count` elements from `position` on between the array of a stream and a buffer.
void copy_elements(Direction direction, char* array, char* buffer, const Layout& layout, int stream,
                   std::int64_t item_size, Position position, std::int64_t count) {
  const std::int64_t stride = layout.strides[stream][layout.axes - 1];
  while (count > 0) {
    const std::int64_t run = std::min(count, position.left_in_row());
    char* place = array + position.offset(stream);
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

bool Layout::simplify(Streams& streams, Dtype dtype) {
  // Axes of length one say nothing.
  int kept = 0;
  int order[max_axes];
  for (int axis = 0; axis < axes; ++axis)
    if (shape[axis] != 1) order[kept++] = axis;
  const auto& leading = strides[Streams::param];
  std::sort(order, order + kept, [&](int a, int b) {  // std::stable_sort would allocate
    const auto first = std::abs(leading[a]), second = std::abs(leading[b]);
    return first != second ? first > second : a < b;
  });

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
                Position(layout, begin), end - begin);
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
    if (written >> s & 1)
      copy_elements(Direction::scatter, static_cast<char*>(arrays_.at[s]),
                    static_cast<char*>(streams.at[s]), layout_, s, item_size(s, dtype_),
                    Position(layout_, begin_), count_);
}

}  // namespace fastopt
