// What a step does to some elements of a tensor: its terms and its rule, block by block.
#pragma once
#include <limits>

#include "../kernels/table.hpp"
#include "../wide.hpp"
#include "rules.hpp"
#include "tensors/tensors.hpp"

namespace fastopt {

// What happens to the gradient before the rule sees it, and to the parameter around the rule. Flags
// are kept as 1 or 0.
struct Terms {
  double l1, l2, weight_decay, decay_after, l1_prox, nonneg, maximize, clip_value;

  static constexpr double never = std::numeric_limits<double>::infinity();

  Penalties penalties() const { return {l1, l2, weight_decay, l1_prox}; }
};

// A rule, folded for one step and one dtype.
struct alignas(16) Folded {
  unsigned char bytes[RuleVariant::room];
};

// What a step does to every element of a group of tensors.
struct Update {
  const RuleVariant* rule;
  Terms terms;
  Penalties penalties;  // of tensors that have none of their own
  double lr;            // of decay
  double prox_lr;       // of proximal L1
  bool scaled_prox;     // proximal L1 in the metric of the rule
  bool zero_grads;
  double ema_decay;
  Wide grad_scale;            // with its sign
  double keep_scale;          // of what a mask keeps
  const DropoutStream* drop;  // of the first entry, or null
  const Wide* tensor_scales;  // without a sign, for each tensor in place of it, or null
  unsigned written;           // a bit for each stream that is an output
  bool bare;  // the rule is all there is to do, but for what a tensor brings with it

  // Takes over the options of the rule, which must outlive this, for step t, which counts from 1.
  // (Bias corrections take as long as a hundred elements: they are made only for the dtypes that a
  // list has.)
  void fold(const Rule& of, const double* options, double t, const bool* has);

  // Whether tensors have numbers of their own, with which the rule is folded for each. Advances
  // them.
  bool has_numbers() const { return scalars_.count > 0; }
  void fold_for(const Tensor& tensor, Folded& own) const;

  // Whether tensors have sums and these numbers in common, and the step for which it was folded.
  bool in_common() const { return in_common_; }
  double t() const { return t_; }
  void copy_numbers(const Tensor& from, const Tensor& to) const;

  // Tells the rule of a tensor the sums over it. May advance its numbers.
  void adapt(const double* sums, const Tensor& tensor, Folded& own) const;

  // To be called when all is set.
  void note_what_is_absent();

  const Folded& folded(Dtype dtype) const { return folded_[int(dtype)]; }

 private:
  View<StateScalar> scalars_;
  const double* options_;
  double t_;
  bool in_common_;
  Folded folded_[dtypes];
};

// Whether a tensor is updated row by row, each added up and changed while it is in the cache: one
// that keeps means of rows alone, lies row behind row, and has nothing to do but the rule.
bool goes_by_rows(const Update& step, const Tensors& list, const Tensor& tensor);

// Updates the elements [begin, end) of one tensor by the rule that was folded, or the rows that
// begin there. `begin` is a multiple of block_size.
void update_tensor(const KernelTable& table, const Update& step, const Folded& rule,
                   const Tensors& list, const Tensor& tensor, std::int64_t begin, std::int64_t end);

// Changes nothing, and writes the sums that the rule wants of each block, one after the other. Of
// elements that take no part, all is zero.
void measure_tensor(const KernelTable& table, const Update& step, const Folded& rule,
                    const Tensors& list, const Tensor& tensor, std::int64_t begin, std::int64_t end,
                    double* sums);

// Adds up the squares of the elements [begin, end) by rows and columns; of a tensor that has a row
// for each element, takes them over into the means at once.
void add_squares(const KernelTable& table, const Update& step, const Folded& rule,
                 const Tensors& list, const Tensor& tensor, std::int64_t begin, std::int64_t end,
                 const FactorSums& sums);

// Writes the directions of the elements [begin, end), and changes nothing. Of elements that take no
// part it is zero.
void direct_tensor(const KernelTable& table, const Update& step, const Folded& rule,
                   const Tensors& list, const Tensor& tensor, std::int64_t begin, std::int64_t end);

}  // namespace fastopt
