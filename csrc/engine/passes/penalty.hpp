// What penalties amount to, and how many zeros they have made.
#pragma once
#include <vector>

#include "sums.hpp"

namespace fastopt {

// The sum of l1 * |p| + l2/2 * p^2, in double. The list has the penalties of every tensor.
double penalty_of(const Tensors& list, int threads);

// The number of zeros in each of `entries` entries.
std::vector<std::int64_t> zeros_of(const Tensors& list, int entries, int threads);

}  // namespace fastopt
