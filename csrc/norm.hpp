// The norm of all gradients of a step, and whether they are finite.
#pragma once
#include <vector>

#include "launch.hpp"

namespace fastopt {

// Every tensor is cut into chunks of so many elements, and the sums of the chunks are added in
// their order: the same bits for any number of threads. Lists to be measured must be collected with
// offsets that are multiples of this.
constexpr std::int64_t norm_chunk = 4096;

struct Norms {
  double global = 0;               // the square root of the sum of all squares
  std::vector<double> per_tensor;  // in the order of the list
  int nonfinite_entry = -1;        // the first entry with an infinity or a NaN, or -1

  // Measures the arrays that a list has in Streams::param.
  void measure(const TensorList& list, int threads);

 private:
  double sum_squares(const TensorList& list, int threads, double scale,
                     std::vector<double>& squares);

  // Kept to spare allocations.
  std::vector<double> of_chunks_, of_tensors_, of_small_tensors_;
};

}  // namespace fastopt
