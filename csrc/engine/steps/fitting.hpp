// Whether the numbers of a step can be what they are in the dtype of its arrays: none may become
// infinite there, nor an eps in a denominator zero.
#pragma once
#include <string>

#include "../update.hpp"

namespace fastopt {

// What does not fit: "eps" is 1e-60, which "is zero" in float32. All fits where the name is null.
struct Misfit {
  const char* name = nullptr;
  double value = 0;
  const char* becomes = nullptr;
};

// What is folded for step t (which counts from 1) of a group.
struct FoldedNumbers {
  const Rule& rule;
  const RuleVariant& variant;
  const double* options;
  double t;
  const double* scalars;
  double grad_scale, keep_scale;
  Penalties penalties;
};
Misfit find_misfit(const FoldedNumbers& numbers, Dtype dtype);

// The penalties of one tensor alone.
Misfit find_misfit(const Penalties& penalties, double lr, Dtype dtype);

// "eps=1e-60 is zero in float32, the dtype of "
std::string text_of(const Misfit& misfit, Dtype dtype);

}  // namespace fastopt
