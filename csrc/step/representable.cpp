// Whether the numbers of a step can be what they are in the dtype of the arrays: none may become
// infinite there, nor an eps in a denominator zero.
#include <cmath>
#include <limits>
#include <string>

#include "../python/errors.hpp"
#include "step.hpp"

namespace fastopt {
namespace {

// The largest double that is not rounded to infinity.
double largest(Dtype dtype) {
  return dtype == Dtype::float32 ? 0x1.fffffefffffffp127 : std::numeric_limits<double>::max();
}

bool vanishes(double number, Dtype dtype) {
  return number != 0 && dtype == Dtype::float32 && static_cast<float>(number) == 0;
}

std::string text(double number) { return text_of(Object::made(PyFloat_FromDouble(number)).ptr()); }

// Corrections of biases are at most 2^53, so what is smaller cannot become too large in float32.
constexpr double surely_fits = 0x1p64;

bool all_small(const double* numbers, int count) {
  bool small = true;
  for (int i = 0; i < count; ++i) small = small && std::fabs(numbers[i]) <= surely_fits;
  return small;
}

}  // namespace

void Step::check_numbers(bool own_penalties) const {
  const Collection& arrays = work_->arrays;
  for (std::size_t number = 0; number < work_->parts.size(); ++number)
    for (int dtype = 0; work_->parts[number].used && dtype < dtypes; ++dtype)
      if (arrays.has()[dtype]) check_numbers_of(static_cast<int>(number), Dtype(dtype));
  if (!own_penalties) return;
  for (const Tensor& tensor : arrays.tensors.all)
    check_penalties(*tensor.penalties, tensor.group, tensor.dtype);
}

void Step::check_numbers_of(int number, Dtype dtype) const {
  const StepPart& part = work_->parts[number];
  const StepGroup& group = work_->groups[part.group];
  const double limit = largest(dtype);
  for (int i = 0; i < rule_.options.count; ++i) {
    const auto& [name, range, needs] = rule_.options[i];
    const double value = group.options[i];
    if (std::fabs(value) > limit) refuse(name, value, "infinite", number, dtype);
    if (range == Range::denominator && vanishes(value, dtype))
      refuse(name, value, "zero", number, dtype);
  }
  if (!all_small(group.options, rule_.options.count) &&
      !group.variant->fits(group.options, static_cast<double>(part.step + 1), group.scalars, limit))
    refuse("a number that the rule makes of lr", group.options[0], "infinite", number, dtype);
  if (std::fabs(shared_.grad_scale) > limit)
    refuse("grad_scale", shared_.grad_scale, "infinite", number, dtype);
  if (keep_scale_ > limit) refuse("1/keep_prob", keep_scale_, "infinite", number, dtype);
  check_penalties(work_->updates[number].terms.penalties(), number, dtype);
}

void Step::check_penalties(const Penalties& of, int number, Dtype dtype) const {
  const double lr = work_->groups[work_->parts[number].group].options[0];
  const struct {
    const char* name;
    double value;
  } all[] = {{"l1", of.l1},
             {"l2", of.l2},
             {"lr * weight_decay", lr * of.weight_decay},
             {"lr * l1_prox", lr * of.l1_prox}};
  for (const auto& [name, value] : all)
    if (value > largest(dtype)) refuse(name, value, "infinite", number, dtype);
}

// Unless this part has no array of this dtype.
void Step::refuse(const char* name, double value, const char* becomes, int number,
                  Dtype dtype) const {
  for (const Tensor& tensor : work_->arrays.tensors.all)
    if (tensor.group == number && tensor.dtype == dtype)
      raise_value_error(std::string(function_) + ": " + name + "=" + text(value) + " is " +
                        becomes + (dtype == Dtype::float32 ? " in float32" : " in float64") +
                        ", the dtype of params" + path_of_leaf(arguments_[0].tree, tensor.entry));
}

}  // namespace fastopt
