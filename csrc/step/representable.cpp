// Whether the numbers of a step can be what they are in the dtype of the arrays.
#include <string>

#include "../engine/steps/fitting.hpp"
#include "../python/errors.hpp"
#include "step.hpp"

namespace fastopt {

void Step::check_numbers(bool own_penalties) const {
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
  for (const Tensor& tensor : arrays.tensors.all) {
    if (scalars > 0) {
      double own[Rule::max_scalars];
      for (int i = 0; i < scalars; ++i) own[i] = *tensor.numbers[i];
      const Misfit misfit = misfit_of(tensor.group, tensor.dtype, own);
      if (misfit.name) refuse(misfit, tensor);
    }
    if (!own_penalties) continue;
    const double lr = work_->groups[work_->parts[tensor.group].group].options[0];
    const Misfit misfit = find_misfit(*tensor.penalties, lr, tensor.dtype);
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

void Step::refuse(const Misfit& misfit, const Tensor& tensor) const {
  raise_value_error(std::string(function_) + ": " + text_of(misfit, tensor.dtype) + "params" +
                    path_of_leaf(arguments_[0].tree, tensor.entry));
}

}  // namespace fastopt
