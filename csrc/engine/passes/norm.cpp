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
  const bool is_float32 = dtype == Dtype::float32;
  const double largest =
      is_float32 ? double{std::numeric_limits<float>::max()} : std::numeric_limits<double>::max();
  const double eps = is_float32 ? double{std::numeric_limits<float>::epsilon()}
                                : std::numeric_limits<double>::epsilon();
  return std::sqrt(largest) * (1 - 4 * eps);
}

Wide clipped(double grad_scale, Wide norm, double max_norm, double eps) {
  const double scale = std::fabs(grad_scale), length = norm.times(scale) + eps;
  const double factor = max_norm / length, scaled = grad_scale * factor;
  if (factor >= 1) return {grad_scale};
  constexpr double smallest = std::numeric_limits<double>::min();
  const bool has_all_digits = factor >= smallest && std::fabs(scaled) >= smallest;
  if (has_all_digits || !std::isfinite(norm.value)) return {scaled};
  // One of them has few digits, or none, in a double, or the length is too large for one.
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
    const int far = exponent_for(squares[i], tensor.dtype);
    factors_[i] = drop || tensor.streams.at[Streams::mask] ? keep_scale : 1;
    exponents_[i] = far + (factors_[i] == 1 ? 0 : std::ilogb(factors_[i]));
    scales_[i] = far != 0 ? std::ldexp(1, -far) : 0;
    scaled = scaled || far != 0;
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
      double term = shift ? std::ldexp(squares[i], shift) : squares[i];
      if (factors_[i] != 1) {
        const double factor = std::ldexp(factors_[i], -std::ilogb(factors_[i]));  // in [1, 2)
        term = factor * (factor * term);
      }
      sum += term;
    }
    return Wide{std::sqrt(sum), exponent};
  };
  int exponent = std::numeric_limits<int>::min();
  bool is_finite = true;
  for (std::size_t i = first; i < last; ++i) {
    is_finite = is_finite && std::isfinite(squares[i]);
    if (squares[i] != 0) exponent = std::max(exponent, exponents_[i]);
  }
  if (exponent == std::numeric_limits<int>::min()) exponent = 0;  // all are zero
  const Wide norm = add_up(exponent);
  return std::isfinite(norm.value) || !is_finite ? norm : add_up(exponent + far_exponent);
}

int Norms::first_above_one(const Tensors& list, int threads, const DropoutStream* drop,
                           const std::vector<double>& scales) {
  sums_.measure_again(list, threads, {&Sums::above_one}, drop, scales);
  for (std::size_t i = 0; i < list.all.size(); ++i)
    if (scales[i] != 0 && sums_.of_tensors()[i] > 0) return list.all[i].entry;
  return -1;
}

}  // namespace fastopt
