// What a step does to some elements of a tensor: its terms and its rule, block by block.
#pragma once
#include "arrays.hpp"
#include "isa/isa.hpp"
#include "step_options.hpp"

namespace fastopt {

// What a step does to every element of a group of tensors.
struct Update {
  int rule;
  const void* scalars[int(Dtype::count)];  // the rule, for each dtype
  const TermOptions* terms;
  double lr;         // of decay
  double prox_lr;    // of proximal L1
  bool scaled_prox;  // proximal L1 in the metric of the rule
  double grad_scale = 1;
  double keep_scale = 1;                   // of what a mask keeps
  const DropoutStream* drop = nullptr;     // of the first entry
  const double* tensor_factors = nullptr;  // one more factor of grad_scale for each tensor
  unsigned written = 0;                    // a bit for each stream that is an output
  bool bare = false;  // the rule is all there is to do, but for what a tensor brings with it

  bool is_bare() const {
    return grad_scale == 1 && !tensor_factors && !drop && terms->clip_value == TermOptions::never &&
           !terms->nonneg && !terms->zero_grads;
  }
};

// Updates the elements [begin, end) of one tensor. `begin` is a multiple of keep_block.
void update_tensor(const KernelTable& table, const Update& step, const TensorList& list,
                   const Tensor& tensor, std::int64_t begin, std::int64_t end);

}  // namespace fastopt
