#include "update.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "masks.hpp"
#include "prefetch.hpp"
#include "tiles.hpp"

namespace fastopt {
namespace {

// The loop of each term goes over so many elements before the next does: they stay in the
// first-level cache, and still several arrays come from memory at a time. (With 1024 elements, a
// step with terms takes a tenth longer.)
constexpr std::int64_t block_size = keep_block;

// A step on one tensor, its scalars rounded to the dtype of the tensor.
template <class T>
class TensorUpdate {
 public:
  TensorUpdate(const KernelTable& table, const Update& step, const Tensor& tensor, double factor)
      : table_(table),
        loops_(table.loops(T())),
        rule_(table.rules[step.rule][int(tensor.dtype)]),
        scalars_(step.scalars[int(tensor.dtype)]),
        terms_(*step.terms),
        scaled_prox_(step.scaled_prox),
        packed_(tensor.packed),
        penalties_{T(step.grad_scale * factor), T((*tensor.penalties)[Penalties::l2]),
                   T((*tensor.penalties)[Penalties::l1]),
                   T(step.lr * (*tensor.penalties)[Penalties::weight_decay])},
        clip_value_(T(terms_.clip_value)),
        keep_scale_(T(step.keep_scale)),
        threshold_(T(step.prox_lr * (*tensor.penalties)[Penalties::l1_prox])) {
    if (step.drop) drop_ = step.drop->of_entry(tensor.entry);
    generates_ = step.drop && !tensor.streams.at[Streams::mask];
  }

  // Updates n elements from where `at` points on. `number` is that of the first block.
  void run(const Streams& at, std::int64_t n, std::int64_t number) const {
    for (std::int64_t begin = 0; begin < n; begin += block_size, ++number)
      update_block(Block(at, begin, packed_), std::min(block_size, n - begin), number);
  }

 private:
  struct Block {
    T *param, *grad, *ema;
    const std::uint8_t *mask, *update_mask;
    void* states[Streams::max_states];

    Block(const Streams& streams, std::int64_t begin, unsigned packed)
        : param(array(streams, Streams::param, begin)),
          grad(array(streams, Streams::grad, begin)),
          ema(array(streams, Streams::ema, begin)),
          mask(mask_at(streams, Streams::mask, begin, packed)),
          update_mask(mask_at(streams, Streams::update_mask, begin, packed)) {
      for (int s = 0; s < Streams::max_states; ++s)
        states[s] = array(streams, Streams::first_state + s, begin);
    }

    static T* array(const Streams& streams, int stream, std::int64_t begin) {
      auto* data = static_cast<T*>(streams.at[stream]);
      return data ? data + begin : nullptr;
    }

    static const std::uint8_t* mask_at(const Streams& streams, int stream, std::int64_t begin,
                                       unsigned packed) {
      const auto* data = static_cast<const std::uint8_t*>(streams.at[stream]);
      return data ? data + (packed >> stream & 1 ? begin / 8 : begin) : nullptr;
    }
  };

  // What a block held before, for the elements that are not to change.
  struct Saved {
    static constexpr int count = 2 + Streams::max_states;
    T* arrays[count];
    T values[count][block_size];

    Saved(const Block& block, std::int64_t n) : arrays{block.param, block.ema} {
      for (int s = 0; s < Streams::max_states; ++s)
        arrays[2 + s] = static_cast<T*>(block.states[s]);
      for (int i = 0; i < count; ++i)
        if (arrays[i]) std::memcpy(values[i], arrays[i], n * sizeof(T));
    }
  };

  bool clips() const { return std::isfinite(terms_.clip_value); }

  void update_block(const Block& block, std::int64_t n, std::int64_t number) const {
    if (!block.update_mask) return update_all(block, n, number);
    const Saved saved(block, n);
    update_all(block, n, number);
    std::uint8_t unpacked[block_size];
    const std::uint8_t* changes = bytes(block.update_mask, Streams::update_mask, n, unpacked);
    for (int i = 0; i < Saved::count; ++i)
      if (saved.arrays[i]) loops_.restore(n, changes, saved.values[i], saved.arrays[i]);
  }

  void update_all(const Block& block, std::int64_t n, std::int64_t number) const {
    T* p = block.param;
    T changed[block_size];
    if (n == block_size) {  // others end their array
      prefetch_block(block.param, 2 * block_size);
      prefetch_block(block.grad, 2 * block_size);
    }
    const T* g = apply_terms_before(block, n, number, changed);
    rule_.update(scalars_, n, p, g, block.states);
    if (terms_.decay_after && penalties_.decay != 0) loops_.decay(n, penalties_.decay, p);
    if (threshold_ != 0 && scaled_prox_) rule_.shrink(scalars_, n, threshold_, p, block.states);
    if (threshold_ != 0 && !scaled_prox_) loops_.shrink(n, threshold_, p);
    if (terms_.nonneg) loops_.cut_negative(n, p);
    if (block.ema) loops_.average(n, T(terms_.ema_decay), T(1 - terms_.ema_decay), p, block.ema);
    if (terms_.zero_grads) std::fill_n(block.grad, n, T(0));
  }

  // Applies the terms that come before the rule. Returns where the gradient is that the rule shall
  // see: in `to` if it had to be changed.
  const T* apply_terms_before(const Block& block, std::int64_t n, std::int64_t number,
                              T* to) const {
    const T* g = block.grad;
    PenaltyScalars<T> scalars = penalties_;
    if (clips() || block.mask || generates_) {
      if (scalars.grad_scale != 1 || clips()) {
        loops_.scale(n, scalars.grad_scale, g, to);
        g = to;
        scalars.grad_scale = 1;
      }
      if (clips()) loops_.clip(n, clip_value_, to);
      if (block.mask || generates_) {
        std::uint8_t made[block_size];
        if (generates_) table_.philox_keep(drop_, number, made);
        const auto* keep = generates_ ? made : bytes(block.mask, Streams::mask, n, made);
        loops_.drop(n, keep_scale_, keep, g, to);
        g = to;
      }
    }
    const bool has_l2 = scalars.l2 != 0, has_l1 = scalars.l1 != 0;
    const bool decays = scalars.decay != 0 && !terms_.decay_after;
    if (!has_l2 && !has_l1 && scalars.grad_scale == 1) {
      if (decays) loops_.decay(n, scalars.decay, block.param);
      return g;
    }
    loops_.penalize[4 * has_l2 + 2 * has_l1 + decays](n, scalars, block.param, g, to);
    return to;
  }

  const std::uint8_t* bytes(const std::uint8_t* mask, int stream, std::int64_t n,
                            std::uint8_t* unpacked) const {
    if (!(packed_ >> stream & 1)) return mask;
    table_.unpack_bits(mask, packed_size(n), unpacked);
    return unpacked;
  }

  const KernelTable& table_;
  const Loops<T>& loops_;
  const RuleLoops& rule_;
  const void* scalars_;
  const TermOptions& terms_;
  bool scaled_prox_, generates_;
  unsigned packed_;
  PenaltyScalars<T> penalties_;
  T clip_value_, keep_scale_, threshold_;
  DropoutStream drop_{0, 0, 0};
};

template <class T>
void update_elements(const KernelTable& table, const Update& step, const TensorList& list,
                     const Tensor& tensor, std::int64_t begin, std::int64_t end) {
  const double factor = step.tensor_factors ? step.tensor_factors[&tensor - &list.tensors[0]] : 1;
  const TensorUpdate<T> update(table, step, tensor, factor);
  for_each_tile(list, tensor, begin, end, step.written,
                [&](const Streams& at, std::int64_t first, std::int64_t count) {
                  update.run(at, count, first / block_size);
                });
}

// Whether there is nothing to do besides the rule.
bool only_rule(const Update& step, const Tensor& tensor) {
  const auto is_zero = [](double penalty) { return penalty == 0; };
  const auto& at = tensor.streams.at;
  return step.bare && !at[Streams::mask] && !at[Streams::update_mask] && !at[Streams::ema] &&
         std::all_of(tensor.penalties->begin(), tensor.penalties->end(), is_zero);
}

}  // namespace

void update_tensor(const KernelTable& table, const Update& step, const TensorList& list,
                   const Tensor& tensor, std::int64_t begin, std::int64_t end) {
  if (only_rule(step, tensor)) {
    const RuleLoops& rule = table.rules[step.rule][int(tensor.dtype)];
    const void* scalars = step.scalars[int(tensor.dtype)];
    return for_each_tile(list, tensor, begin, end, step.written,
                         [&](const Streams& at, std::int64_t /*first*/, std::int64_t count) {
                           rule.update(scalars, count, at.at[Streams::param], at.at[Streams::grad],
                                       &at.at[Streams::first_state]);
                         });
  }
  const auto update =
      tensor.dtype == Dtype::float32 ? update_elements<float> : update_elements<double>;
  update(table, step, list, tensor, begin, end);
}

}  // namespace fastopt
