#include "norm.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fastopt {
namespace {

// Where squares are too large for a double, or so small that they lose digits, they are summed once
// more on another scale, where no finite number has an infinite square, and no number one of zero.
constexpr int far = 600;
constexpr double too_small = 0x1p-900;

int exponent_for(double squares, Dtype dtype) {
  if (!std::isfinite(squares)) return far;
  return dtype == Dtype::float64 && squares < too_small ? -far : 0;  // float32 has no such numbers
}

}  // namespace

double largest_with_square(Dtype dtype) {
  return std::sqrt(dtype == Dtype::float32 ? double{std::numeric_limits<float>::max()}
                                           : std::numeric_limits<double>::max());
}

Wide clipped(double grad_scale, Wide norm, double max_norm, double eps) {
  const double factor = max_norm / (norm.times(std::fabs(grad_scale)) + eps);
  if (factor >= 1) return {grad_scale};
  constexpr double smallest = std::numeric_limits<double>::min();
  if (!(factor < smallest) || !std::isfinite(norm.value)) return {grad_scale * factor};
  // So large a norm is the same with eps, and grad_scale goes out.
  int exponent;
  const double mantissa = std::frexp(norm.value, &exponent);
  return {std::copysign(max_norm / mantissa, grad_scale), -(exponent + norm.exponent)};
}

double Norms::kept(const Tensor& tensor, double keep_scale, const DropoutStream* drop) {
  return drop || tensor.streams.at[Streams::mask] ? keep_scale : 1;
}

void Norms::measure(const Tensors& list, int threads, double keep_scale,
                    const DropoutStream* drop) {
  sums_.measure(list, threads, {&Sums::squares}, drop);
  const std::vector<double>& squares = sums_.of_tensors();
  const std::size_t count = list.all.size();
  exponents_.resize(count);
  scales_.resize(count);
  bool any = false;
  for (std::size_t i = 0; i < count; ++i) {
    exponents_[i] = exponent_for(squares[i], list.all[i].dtype);
    scales_[i] = exponents_[i] != 0 ? std::ldexp(1, -exponents_[i]) : 0;
    any = any || exponents_[i] != 0;
  }
  if (any) sums_.measure_again(list, threads, {&Sums::squares}, drop, scales_);

  nonfinite_entry = -1;
  per_tensor.clear();
  int largest = -far;
  bool is_zero = true;
  for (std::size_t i = 0; i < count; ++i) {
    if (squares[i] == 0) {
      exponents_[i] = 0;
    } else {
      largest = std::max(largest, exponents_[i]);
      is_zero = false;
    }
    if (!std::isfinite(squares[i]) && nonfinite_entry < 0) nonfinite_entry = list.all[i].entry;
    const double factor = kept(list.all[i], keep_scale, drop);
    per_tensor.push_back({std::sqrt(factor * factor * squares[i]), exponents_[i]});
  }
  const auto add_up = [&](int exponent) {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double factor = kept(list.all[i], keep_scale, drop);
      sum += factor * factor * std::ldexp(squares[i], 2 * (exponents_[i] - exponent));
    }
    return Wide{std::sqrt(sum), exponent};
  };
  global = add_up(is_zero ? 0 : largest);
  if (!std::isfinite(global.value) && nonfinite_entry < 0) global = add_up(far);
}

int Norms::first_above_one(const Tensors& list, int threads, const DropoutStream* drop,
                           const std::vector<double>& scales) {
  sums_.measure_again(list, threads, {&Sums::above_one}, drop, scales);
  for (std::size_t i = 0; i < list.all.size(); ++i)
    if (scales[i] != 0 && sums_.of_tensors()[i] > 0) return list.all[i].entry;
  return -1;
}

}  // namespace fastopt
