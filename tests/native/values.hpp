// What the streams of all tensors hold at first, in C order, one tensor behind the other.
#pragma once
#include <cmath>
#include <vector>

#include "array.hpp"

namespace native {

class Values {
 public:
  explicit Values(fastopt::Dtype dtype) : dtype_(dtype) {
    Numbers numbers;
    for (int stream = 0; stream < fastopt::Streams::count; ++stream)
      for (std::int64_t i = 0; i < total_size(); ++i) {
        const double x = numbers.next();
        if (fastopt::Streams::is_mask(stream))
          of_[stream].push_back(x < 0.25);
        else
          push(stream, number(stream, i, x));
      }
  }

  // Where the elements of a tensor begin. `turn` moves on to others: gradients differ from step to
  // step.
  const char* at(int stream, int tensor, std::int64_t turn = 0) const {
    std::int64_t first = 0;
    for (int before = 0; before < tensor; ++before) first += shapes[before].size();
    return of_[stream].data() +
           (first + turn * 31) % (total_size() - shapes[tensor].size() + 1) * item(stream);
  }

 private:
  std::int64_t item(int stream) const { return fastopt::item_size(stream, dtype_); }

  // Zeros, whose sign decides, and numbers below the normal ones are among them. Averages of
  // squares are positive.
  double number(int stream, std::int64_t i, double x) const {
    if (i % 17 == 3) return i % 2 ? 0.0 : -0.0;
    if (stream >= fastopt::Streams::first_state) return x * x;
    if (i % 101 == 7) return x * (dtype_ == fastopt::Dtype::float32 ? 0x1p-135 : 0x1p-1040);
    return x;
  }

  void push(int stream, double x) {
    const auto single = static_cast<float>(x);
    const bool is_single = dtype_ == fastopt::Dtype::float32;
    const char* bytes = reinterpret_cast<const char*>(&x);
    if (is_single) bytes = reinterpret_cast<const char*>(&single);
    of_[stream].insert(of_[stream].end(), bytes, bytes + item(stream));
  }

  fastopt::Dtype dtype_;
  std::vector<char> of_[fastopt::Streams::count];
};

inline const Values& values_of(fastopt::Dtype dtype) {
  static const Values float32(fastopt::Dtype::float32), float64(fastopt::Dtype::float64);
  return dtype == fastopt::Dtype::float32 ? float32 : float64;
}

}  // namespace native
