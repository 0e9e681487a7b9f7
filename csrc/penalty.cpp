#include "penalty.hpp"

namespace fastopt {

double penalty_of(const TensorList& list, int threads) {
  TensorSums sums;
  sums.measure(list, threads, {&Sums::magnitudes, &Sums::squares});
  double total = 0;
  for (std::size_t i = 0; i < list.tensors.size(); ++i) {
    const double l1 = (*list.tensors[i].penalties)[Penalties::l1];
    const double l2 = (*list.tensors[i].penalties)[Penalties::l2];
    // A penalty of zero is absent: 0 * inf would be NaN.
    if (l1 != 0) total += l1 * sums.of_tensors(0)[i];
    if (l2 != 0) total += l2 / 2 * sums.of_tensors(1)[i];
  }
  return total;
}

std::vector<std::int64_t> zeros_of(const TensorList& list, int threads) {
  TensorSums sums;
  sums.measure(list, threads, {&Sums::zeros});
  std::vector<std::int64_t> zeros(list.entries());
  for (std::size_t i = 0; i < list.tensors.size(); ++i)
    zeros[list.tensors[i].entry] = static_cast<std::int64_t>(sums.of_tensors()[i]);
  return zeros;
}

}  // namespace fastopt
