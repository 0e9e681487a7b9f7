// The norm of all gradients of a step, and whether they are finite.
#pragma once
#include <vector>

#include "sums.hpp"

namespace fastopt {

// The scale that clips to `max_norm` what has this norm and is multiplied by `grad_scale` (Pascanu
// et al. 2013, algorithm 1, with torch's eps in the denominator): grad_scale itself, or less. A
// norm that is NaN gives NaN: a gradient that is broken stays visible.
Wide clipped(double grad_scale, Wide norm, double max_norm, double eps);

// The largest number whose square a dtype can hold, whatever scales have rounded on the way.
double largest_with_square(Dtype dtype);

class Norms {
 public:
  Wide global;               // the square root of the sum of all squares
  int nonfinite_entry = -1;  // the first entry with an infinity or a NaN, or -1

  // Measures the arrays that a list has in Streams::param, as they are where masks of their tensor
  // and `drop` have left elements out and the others are multiplied by keep_scale. (An update mask
  // only leaves out.)
  void measure(const Tensors& list, int threads, double keep_scale = 1,
               const DropoutStream* drop = nullptr);

  // Of one tensor of the list.
  Wide of_tensor(std::size_t number) const { return norm_of(number, number + 1); }

  // What multiplies the elements of a tensor that are kept.
  double factor(std::size_t number) const { return factors_[number]; }

  // The first entry with an element x where |x * scale| > 1 for the scale of its tensor, or -1.
  // Tensors whose scale is zero are not looked at, nor is what is left out.
  int first_above_one(const Tensors& list, int threads, const DropoutStream* drop,
                      const std::vector<double>& scales);

 private:
  // Of the tensors [first, last) together.
  Wide norm_of(std::size_t first, std::size_t last) const;

  TensorSums sums_;
  std::vector<double> factors_;
  std::vector<int> exponents_;  // of a norm: that of the scale of its squares, and of its factor
  std::vector<double> scales_;  // kept to spare allocations
};

}  // namespace fastopt
