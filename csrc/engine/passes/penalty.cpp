#include "penalty.hpp"

namespace fastopt {

double penalty_of(const Tensors& list, int threads) {
  TensorSums sums;
  sums.measure(list, threads, {&Sums::magnitudes, &Sums::squares});
  double total = 0;
  for (std::size_t i = 0; i < list.all.size(); ++i) {
    const Penalties& penalties = *list.all[i].penalties;
    // A penalty of zero is absent: 0 * inf would be NaN.
    if (penalties.l1 != 0) total += penalties.l1 * sums.of_tensors(0)[i];
    if (penalties.l2 != 0) total += penalties.l2 / 2 * sums.of_tensors(1)[i];
  }
  return total;
}

std::vector<std::int64_t> zeros_of(const Tensors& list, int entries, int threads) {
  TensorSums sums;
  sums.measure(list, threads, {&Sums::zeros});
  std::vector<std::int64_t> zeros(entries);
  for (std::size_t i = 0; i < list.all.size(); ++i)
    zeros[list.all[i].entry] = static_cast<std::int64_t>(sums.of_tensors()[i]);
  return zeros;
}

}  // namespace fastopt
