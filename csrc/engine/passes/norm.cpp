#include "norm.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fastopt {
namespace {

// Where squares are too large for a double, or so small that they lose digits, they are summed once
// more on another scale, where no finite number has an infinite square, and no number one of zero.
constexpr int far_exponent = 600;
constexpr double too_small = 0x1p-900;

int exponent_for(double squares, Dtype dtype) {
  if (!std::isfinite(squares)) return far_exponent;
  return dtype == Dtype::float64 && squares < too_small ? -far_exponent
                                                        : 0;  // float32 has no such numbers
}

}  // namespace

double largest_with_square(Dtype dtype) {
  return std::sqrt(dtype == Dtype::float32 ? double{std::numeric_limits<float>::max()}
                                           : std::numeric_limits<double>::max());
}

Wide clipped(double grad_scale, Wide norm, double max_norm, double eps) {
  const double scale = std::fabs(grad_scale), length = norm.times(scale) + eps;
  const double factor = max_norm / length;
  if (factor >= 1) return {grad_scale};
  constexpr double smallest = std::numeric_limits<double>::min();
  if (!(factor < smallest) || !std::isfinite(norm.value)) return {grad_scale * factor};
  // The factor has few digits, or none, in a double, and its length may be too large for one.
  int of_norm, of_scale, of_max, of_length, shift = 0;
  double divisor = length;
  if (!std::isfinite(length)) {
    divisor = std::frexp(norm.value, &of_norm) * std::frexp(scale, &of_scale);
    shift = of_norm + norm.exponent + of_scale;
    divisor += std::ldexp(eps, -shift);
  }
  const double value = std::frexp(grad_scale, &of_scale) * std::frexp(max_norm, &of_max) /
                       std::frexp(divisor, &of_length);
  return {value, of_scale + of_max - of_length - shift};
}

void Norms::measure(const Tensors& list, int threads, double keep_scale,
                    const DropoutStream* drop) {
  sums_.measure(list, threads, {&Sums::squares}, drop);
  const std::vector<double>& squares = sums_.of_tensors();
  const std::size_t count = list.all.size();
  nonfinite_entry = -1;
  factors_.resize(count);
  exponents_.resize(count);
  scales_.resize(count);
  bool scaled = false;
  for (std::size_t i = 0; i < count; ++i) {
    const Tensor& tensor = list.all[i];
    factors_[i] = drop || tensor.streams.at[Streams::mask] ? keep_scale : 1;
    exponents_[i] = exponent_for(squares[i], tensor.dtype);
    scales_[i] = exponents_[i] != 0 ? std::ldexp(1, -exponents_[i]) : 0;
    scaled = scaled || exponents_[i] != 0;
  }
  if (scaled) {
    sums_.measure_again(list, threads, {&Sums::squares}, drop, scales_);
    for (std::size_t i = count; i-- > 0;)
      if (!std::isfinite(squares[i])) nonfinite_entry = list.all[i].entry;
  }
  global = norm_of(0, count);
}

Wide Norms::norm_of(std::size_t first, std::size_t last) const {
  const std::vector<double>& squares = sums_.of_tensors();
  const auto add_up = [&](int exponent) {
    double sum = 0;
    for (std::size_t i = first; i < last; ++i) {
      const int shift = 2 * (exponents_[i] - exponent);
      sum += factors_[i] * (factors_[i] * (shift ? std::ldexp(squares[i], shift) : squares[i]));
    }
    return Wide{std::sqrt(sum), exponent};
  };
  int exponent = -far_exponent;
  bool is_zero = true, is_finite = true;
  for (std::size_t i = first; i < last; ++i) {
    is_finite = is_finite && std::isfinite(squares[i]);
    if (squares[i] == 0) continue;
    is_zero = false;
    exponent = std::max(exponent, exponents_[i]);
  }
  const Wide norm = add_up(is_zero ? 0 : exponent);
  return std::isfinite(norm.value) || !is_finite ? norm : add_up(far_exponent);
}

int Norms::first_above_one(const Tensors& list, int threads, const DropoutStream* drop,
                           const std::vector<double>& scales) {
  sums_.measure_again(list, threads, {&Sums::above_one}, drop, scales);
  for (std::size_t i = 0; i < list.all.size(); ++i)
    if (scales[i] != 0 && sums_.of_tensors()[i] > 0) return list.all[i].entry;
  return -1;
}

}  // namespace fastopt
