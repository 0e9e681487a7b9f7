// Whether the numbers of a step can be what they are in the dtype of the arrays.
#include <string>

#include "../engine/steps/fitting.hpp"
#include "../engine/steps/ranges.hpp"
#include "../python/errors.hpp"
#include "step.hpp"

namespace fastopt {

void Step::check_numbers(bool own_penalties) const {
  check_in_common();
  const Collection& arrays = work_->arrays;
  const int scalars = rule_.scalars.count;
  for (std::size_t number = 0; scalars == 0 && number < work_->parts.size(); ++number)
    for (int dtype = 0; work_->parts[number].used && dtype < dtypes; ++dtype) {
      const int part = static_cast<int>(number);
      if (!arrays.has()[dtype]) continue;
      const Misfit misfit = misfit_of(part, Dtype(dtype), nullptr);
      // Unless this part has no array of this dtype.
      for (const Tensor& tensor : arrays.tensors.all)
        if (misfit.name && tensor.group == part && tensor.dtype == Dtype(dtype))
          refuse(misfit, tensor);
    }
  const auto options_of = [&](const Tensor& tensor) {
    return work_->groups[work_->parts[tensor.group].group].options;
  };
  const auto steps_of = [&](const Tensor& tensor) {
    if (!rule_.in_common(options_of(tensor))) return -1.0;
    return static_cast<double>(work_->parts[tensor.group].step);
  };
  const Tensor* furthest = rule_.per_array < 0 ? nullptr : arrays.tensors.furthest(steps_of);
  for (const Tensor& tensor : arrays.tensors.all) {
    if (scalars > 0) {
      const Tensor& holds = furthest && rule_.in_common(options_of(tensor)) ? *furthest : tensor;
      double own[Rule::max_scalars];
      for (int i = 0; i < scalars; ++i) own[i] = *holds.numbers[i];
      const Misfit misfit = misfit_of(tensor.group, tensor.dtype, own);
      if (misfit.name) refuse(misfit, tensor);
    }
    if (!own_penalties) continue;
    const Misfit misfit = find_misfit(*tensor.penalties, options_of(tensor)[0], tensor.dtype);
    if (misfit.name) refuse(misfit, tensor);
  }
}

Misfit Step::misfit_of(int number, Dtype dtype, const double* scalars) const {
  const StepPart& part = work_->parts[number];
  const StepGroup& group = work_->groups[part.group];
  return find_misfit(
      {rule_, *group.variant, group.options, static_cast<double>(part.step + 1), scalars,
       shared_.grad_scale, keep_scale_, work_->updates[number].terms.penalties()},
      dtype);
}

// Options of what arrays have in common must be so, too.
void Step::check_in_common() const {
  const StepPart* first = nullptr;
  for (const StepPart& part : work_->parts) {
    const double* options = work_->groups[part.group].options;
    if (!part.used || !rule_.in_common(options)) continue;
    if (!first) first = &part;
    const double* before = work_->groups[first->group].options;
    for (int i = 0; i < rule_.options.count; ++i) {
      const Option& option = rule_.options[i];
      if (!option.in_common || options[i] == before[i]) continue;
      const auto text = [&](const StepPart& of, const double* values) {
        return "groups[" + std::to_string(of.group) + "] has " + option.name + "=" +
               as_text(values[i]);
      };
      raise_value_error(std::string(function_) + ": " + text(part, options) + ", " +
                        text(*first, before) +
                        "; arrays have it in common, but for groups with per_array=True");
    }
  }
}

void Step::refuse(const Misfit& misfit, const Tensor& tensor) const {
  raise_value_error(std::string(function_) + ": " + text_of(misfit, tensor.dtype) + "params" +
                    path_of_leaf(arguments_[0].tree, tensor.entry));
}

}  // namespace fastopt
