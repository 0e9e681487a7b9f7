// What a step finds out about its gradients before it changes anything: their norms, whether they
// are finite, and so the scale that they get.
#pragma once
#include <cmath>
#include <vector>

#include "../passes/norm.hpp"
#include "options.hpp"

namespace fastopt {

// Reuse it: a step on small arrays should not allocate.
class Gradients {
 public:
  Tensors list;  // as Streams::param, with their masks; filled with the alignment `sum_chunk`
  Norms norms;
  Wide scale;                // grad_scale, clipped
  std::vector<Wide> scales;  // of each tensor, where each is clipped alone

  // Returns false if the step is to be skipped. `tensors` are those of the step in the same order,
  // and belong to groups, whose terms are known. Norms are those of the gradients as they are after
  // masks.
  bool measure(const Shared& shared, const Tensors& tensors, const Update* groups,
               double keep_scale, const DropoutStream* drop, int threads,
               bool refuses_large_squares);

  // The norm of all, after masks and grad_scale.
  double norm(const Shared& shared) const {
    return norms.global.times(std::fabs(shared.grad_scale));
  }

  // The first entry that is not finite, or too large to be squared; else -1.
  int nonfinite_entry() const { return nonfinite_entry_; }

 private:
  int find_too_large(const Shared& shared, const Tensors& tensors, const Update* groups,
                     const DropoutStream* drop, int threads);

  int nonfinite_entry_ = -1;
  std::vector<double> room_;
};

// What a step has found out and decided once for all groups.
struct StepScale {
  const Shared& shared;
  const Gradients& gradients;
  double keep_scale;
  const DropoutStream* drop;
  unsigned written;  // streams
};

// Sets all of an update but for its terms and ema_decay, which it has, and its rule, still to be
// folded.
void prepare(Update& update, const RuleVariant* variant, const StepScale& given);

}  // namespace fastopt
