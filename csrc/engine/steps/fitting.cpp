#include "fitting.hpp"

#include <cmath>
#include <limits>
#include <string>

#include "ranges.hpp"

namespace fastopt {
namespace {

// The largest double that is not rounded to infinity.
double largest(Dtype dtype) {
  return dtype == Dtype::float32 ? 0x1.fffffefffffffp127 : std::numeric_limits<double>::max();
}

bool vanishes(double number, Dtype dtype) {
  return number != 0 && dtype == Dtype::float32 && static_cast<float>(number) == 0;
}

// Corrections of biases are at most 2^53, so what is smaller cannot become too large in float32;
// nor can the inverse of a learning rate that is not smaller than the inverse of this.
constexpr double surely_fits = 0x1p64;

bool surely_fit(const double* options, int count) {
  const double lr = options[0];
  bool fit = lr == 0 || lr >= 1 / surely_fits;
  for (int i = 0; i < count; ++i) fit = fit && std::fabs(options[i]) <= surely_fits;
  return fit;
}

}  // namespace

Misfit find_misfit(const FoldedNumbers& numbers, Dtype dtype) {
  const double limit = largest(dtype);
  const auto& options = numbers.rule.options;
  for (int i = 0; i < options.count; ++i) {
    const double value = numbers.options[i];
    if (std::fabs(value) > limit) return {options[i].name, value, "infinite"};
    if (options[i].range == Range::denominator && vanishes(value, dtype))
      return {options[i].name, value, "zero"};
  }
  for (int i = 0; i < numbers.rule.scalars.count; ++i)
    if (!std::isfinite(numbers.scalars[i]))
      return {numbers.rule.scalars[i].name, numbers.scalars[i], "no finite number of the state"};
  const bool may_be_large =
      numbers.rule.scalars.count > 0 || !surely_fit(numbers.options, options.count);
  if (may_be_large && !numbers.variant.fits(numbers.options, numbers.t, numbers.scalars, limit))
    return {"a number that the rule makes of lr", numbers.options[0], "infinite"};
  if (std::fabs(numbers.grad_scale) > limit) return {"grad_scale", numbers.grad_scale, "infinite"};
  if (numbers.keep_scale > limit) return {"1/keep_prob", numbers.keep_scale, "infinite"};
  return find_misfit(numbers.penalties, numbers.options[0], dtype);
}

Misfit find_misfit(const Penalties& penalties, double lr, Dtype dtype) {
  const Misfit all[] = {{"l1", penalties.l1, "infinite"},
                        {"l2", penalties.l2, "infinite"},
                        {"lr * weight_decay", lr * penalties.weight_decay, "infinite"},
                        {"lr * l1_prox", lr * penalties.l1_prox, "infinite"}};
  for (const Misfit& one : all)
    if (one.value > largest(dtype)) return one;
  return {};
}

std::string text_of(const Misfit& misfit, Dtype dtype) {
  return std::string(misfit.name) + "=" + as_text(misfit.value) + " is " + misfit.becomes +
         (dtype == Dtype::float32 ? " in float32" : " in float64") + ", the dtype of ";
}

}  // namespace fastopt
