#include "norm.hpp"

#include <cmath>

namespace fastopt {
namespace {

double added(const std::vector<double>& numbers) {
  double sum = 0;
  for (double number : numbers) sum += number;
  return sum;
}

}  // namespace

void Norms::measure(const Tensors& list, int threads) {
  nonfinite_entry = -1;
  sums_.measure(list, threads, {&Sums::squares});
  global = std::sqrt(added(sums_.of_tensors()));
  per_tensor.clear();
  for (double squares : sums_.of_tensors()) per_tensor.push_back(std::sqrt(squares));
  if (std::isfinite(global)) return;

  // Something is not finite, or it is but its square is not. The small scale tells: no finite
  // number has an infinite square there.
  constexpr double small = 0x1p-600;
  small_sums_.measure(list, threads, {&Sums::squares}, small);
  const std::vector<double>& squares = small_sums_.of_tensors();
  global = std::sqrt(added(squares)) / small;
  for (std::size_t i = squares.size(); i-- > 0;) {
    if (!std::isfinite(per_tensor[i])) per_tensor[i] = std::sqrt(squares[i]) / small;
    if (!std::isfinite(squares[i])) nonfinite_entry = list.all[i].entry;
  }
}

}  // namespace fastopt
