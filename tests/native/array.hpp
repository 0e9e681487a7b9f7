// An array of two axes that may lie in memory in several ways.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "../../csrc/engine/tensors/streams.hpp"
#include "numbers.hpp"

namespace native {

enum class Order {
  contiguous,
  shifted,  // contiguous, but beginning one element behind the start of the memory
  transposed,
  reversed,
  every_second,
  count
};

// The sizes of the arrays of every list: around the lengths of vectors, blocks and chunks.
struct Shape {
  std::int64_t rows, columns;
  constexpr std::int64_t size() const { return rows * columns; }
};
constexpr Shape shapes[] = {{1, 1},   {7, 1},    {15, 17}, {16, 16},
                            {257, 1}, {1, 4099}, {65, 77}, {1, 30011}};
constexpr int tensors = sizeof shapes / sizeof *shapes;

constexpr std::int64_t total_size() {
  std::int64_t sum = 0;
  for (const Shape& shape : shapes) sum += shape.size();
  return sum;
}

class Array {
 public:
  Array(std::int64_t item_size, Shape shape, Order order)
      : item_(item_size), shape_(shape), memory_((2 * shape.size() + 1) * item_size) {
    strides_[0] = shape.columns * item_;
    strides_[1] = item_;
    data_ = memory_.data();
    if (order == Order::shifted) data_ += item_;
    if (order == Order::transposed) {
      strides_[0] = item_;
      strides_[1] = shape.rows * item_;
    }
    if (order == Order::reversed) {
      data_ += (shape.size() - 1) * item_;
      for (auto& stride : strides_) stride = -stride;
    }
    if (order == Order::every_second)
      for (auto& stride : strides_) stride *= 2;
  }

  void* data() const { return data_; }
  const std::int64_t* strides() const { return strides_; }

  // From elements that lie side by side.
  void fill(const char* values) {
    if (item_ == 1) fill_items<1>(values);
    if (item_ == 4) fill_items<4>(values);
    if (item_ == 8) fill_items<8>(values);
  }

  // The place of element i in C order.
  char* at(std::int64_t i) const {
    return data_ + i / shape_.columns * strides_[0] + i % shape_.columns * strides_[1];
  }

  // The numbers in C order, wherever they are.
  template <class T>
  void add_to(Checksum& checksum) const {
    for_each_place([&](const char* place) {
      T number;
      std::memcpy(&number, place, sizeof number);
      checksum.add(number);
    });
  }

  void add_to(Checksum& checksum, fastopt::Dtype dtype) const {
    dtype == fastopt::Dtype::float32 ? add_to<float>(checksum) : add_to<double>(checksum);
  }

 private:
  template <std::int64_t size>
  void fill_items(const char* values) {
    for_each_place([&](char* place) {
      std::memcpy(place, values, size);
      values += size;
    });
  }

  template <class Visit>
  void for_each_place(const Visit& visit) const {
    for (std::int64_t row = 0; row < shape_.rows; ++row) {
      char* place = data_ + row * strides_[0];
      for (std::int64_t column = 0; column < shape_.columns; ++column, place += strides_[1])
        visit(place);
    }
  }

  std::int64_t item_;
  Shape shape_;
  std::vector<char> memory_;
  char* data_;
  std::int64_t strides_[2];
};

}  // namespace native
