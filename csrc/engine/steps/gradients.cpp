#include "gradients.hpp"

#include <cmath>

namespace fastopt {

bool Gradients::measure(const Shared& shared, const Tensors& tensors, const Update* groups,
                        double keep_scale, const DropoutStream* drop, int threads,
                        bool refuses_large_squares) {
  norms.measure(list, threads, keep_scale, drop);
  nonfinite_entry_ = norms.nonfinite_entry;
  if (shared.skips() && nonfinite_entry_ >= 0) return false;
  if (shared.clips())
    scale = clipped(shared.grad_scale, norms.global, shared.clip_norm, shared.clip_eps);
  scales.clear();
  for (std::size_t i = 0; shared.clips_tensors() && i < list.all.size(); ++i)
    scales.push_back(
        clipped(shared.grad_scale, norms.of_tensor(i), shared.clip_tensor_norm, shared.clip_eps));
  if (!shared.skips() || !refuses_large_squares) return true;
  nonfinite_entry_ = find_too_large(shared, tensors, groups, drop, threads);
  return nonfinite_entry_ < 0;
}

// The first entry with a gradient whose square its dtype cannot hold, or -1: moments would be
// infinite from then on. What is cut by clip_value is smaller.
int Gradients::find_too_large(const Shared& shared, const Tensors& tensors, const Update* groups,
                              const DropoutStream* drop, int threads) {
  constexpr double surely = 0.999;  // whatever was rounded
  const double least = largest_with_square(Dtype::float32);
  if (norms.global.times(std::fabs(shared.grad_scale) / least) < surely) return -1;
  bool any = false;
  room_.assign(list.all.size(), 0);
  for (std::size_t i = 0; i < room_.size(); ++i) {
    const Tensor& tensor = tensors.all[i];
    const double largest = largest_with_square(tensor.dtype);
    const double its_scale = std::fabs((shared.clips_tensors() ? scales[i] : scale).times(1));
    if (groups[tensor.group].terms.clip_value <= largest) continue;
    if (norms.of_tensor(i).times(its_scale / largest) < surely) continue;  // so is every element
    room_[i] = its_scale / largest * norms.factor(i);
    any = true;
  }
  return any ? norms.first_above_one(list, threads, drop, room_) : -1;
}

void prepare(Update& update, const RuleVariant* variant, const StepScale& given) {
  const Gradients& gradients = given.gradients;
  update.rule = variant;
  update.penalties = update.terms.penalties();
  update.zero_grads = given.shared.zero_grads != 0;
  update.grad_scale = update.terms.maximize != 0 ? -gradients.scale : gradients.scale;
  update.keep_scale = given.keep_scale;
  update.drop = given.drop;
  update.tensor_scales = given.shared.clips_tensors() ? gradients.scales.data() : nullptr;
  update.written = given.written;
}

}  // namespace fastopt
