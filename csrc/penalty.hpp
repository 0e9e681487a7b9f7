// What penalties amount to, and how many zeros they have made.
#pragma once
#include <vector>

#include "sums.hpp"

namespace fastopt {

// The sum of l1 * |p| + l2/2 * p^2, in double. The list has the penalties of every tensor.
double penalty_of(const TensorList& list, int threads);

// The number of zeros in every entry.
std::vector<std::int64_t> zeros_of(const TensorList& list, int threads);

}  // namespace fastopt
