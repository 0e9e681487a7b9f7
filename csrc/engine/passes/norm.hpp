// The norm of all gradients of a step, and whether they are finite.
#pragma once
#include <vector>

#include "sums.hpp"

namespace fastopt {

struct Norms {
  double global = 0;               // the square root of the sum of all squares
  std::vector<double> per_tensor;  // in the order of the list
  int nonfinite_entry = -1;        // the first entry with an infinity or a NaN, or -1

  // Measures the arrays that a list has in Streams::param.
  void measure(const Tensors& list, int threads);

 private:
  TensorSums sums_, small_sums_;  // kept to spare allocations
};

}  // namespace fastopt
