#include "update.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../kernels/prefetch.hpp"
#include "masks.hpp"

namespace fastopt {
namespace {

bool is_absent(const Penalties& penalties) {
  return penalties.l1 == 0 && penalties.l2 == 0 && penalties.weight_decay == 0 &&
         penalties.l1_prox == 0;
}

const Penalties& penalties_of(const Update& step, const Tensor& tensor) {
  return tensor.penalties ? *tensor.penalties : step.penalties;
}

// A step on one tensor, its scalars rounded to the dtype of the tensor.
template <class T>
class TensorUpdate {
 public:
  TensorUpdate(const KernelTable& table, const Update& step, const Folded& rule,
               const Tensors& list, const Tensor& tensor)
      : table_(table),
        loops_(table.loops(T())),
        rule_(table.rules[step.rule->id][int(tensor.dtype)]),
        folded_(&rule),
        step_(step),
        packed_(tensor.packed) {
    const Penalties& given = penalties_of(step, tensor);
    Wide scale = step.grad_scale;
    if (step.tensor_scales) {
      scale = step.tensor_scales[&tensor - &list.all[0]];
      if (step.terms.maximize != 0) scale = -scale;
    }
    constexpr double smallest = std::numeric_limits<T>::min();       // a power of two
    if (scale.value != 0 && std::fabs(scale.times(1)) < smallest) {  // few digits in T, or none
      first_scale_ = T(Wide{scale.value, scale.exponent - std::ilogb(smallest)}.times(1));
      scale = {smallest};
    }
    penalties_ = {T(scale.times(1)), T(given.l2), T(given.l1), T(step.lr * given.weight_decay)};
    clip_value_ = T(step.terms.clip_value);
    keep_scale_ = T(step.keep_scale);
    threshold_ = T(step.prox_lr * given.l1_prox);
    if (step.drop) drop_ = step.drop->of_entry(tensor.entry);
    generates_ = step.drop && !tensor.streams.at[Streams::mask];
  }

  // Updates n elements from where `at` points on. `number` is that of the first block.
  void run(const Streams& at, std::int64_t n, std::int64_t number) const {
    for (std::int64_t begin = 0; begin < n; begin += block_size, ++number)
      update_block(Block(at, begin, packed_), std::min(block_size, n - begin), number);
  }

  void measure(const Streams& at, std::int64_t n, std::int64_t number, double* sums) const {
    for (std::int64_t begin = 0; begin < n; begin += block_size, ++number) {
      measure_block(Block(at, begin, packed_), std::min(block_size, n - begin), number, sums);
      sums += RuleVariant::max_sums;
    }
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

  bool clips() const { return std::isfinite(step_.terms.clip_value); }
  bool decays_after() const { return step_.terms.decay_after != 0; }

  void update_block(const Block& block, std::int64_t n, std::int64_t number) const {
    if (!block.update_mask) return update_all(block, n, number);
    const Saved saved(block, n);
    update_all(block, n, number);
    std::uint8_t unpacked[block_size];
    const std::uint8_t* changes = bytes(block.update_mask, Streams::update_mask, n, unpacked);
    for (int i = 0; i < Saved::count; ++i)
      if (saved.arrays[i]) loops_.restore(n, changes, saved.values[i], saved.arrays[i]);
  }

  // Decay, which comes before the rule, changes a copy.
  void measure_block(const Block& block, std::int64_t n, std::int64_t number, double* sums) const {
    Block seen = block;
    T param[block_size], changed[block_size];
    if (n == block_size) prefetch_all(block);
    if (penalties_.decay != 0) {
      std::copy_n(block.param, n, param);
      seen.param = param;
    }
    const T* g = apply_terms_before(seen, n, number, changed);
    double values[RuleVariant::max_sums * block_size];
    rule_.measure(folded_, n, seen.param, g, block.states, values);
    const std::uint8_t* takes_part = nullptr;
    std::uint8_t unpacked[block_size];
    if (block.update_mask) takes_part = bytes(block.update_mask, Streams::update_mask, n, unpacked);
    for (int k = 0; k < step_.rule->sums; ++k) {
      double* of_sum = values + k * block_size;
      static constexpr double zeros[block_size] = {};
      if (takes_part) table_.float64.restore(n, takes_part, zeros, of_sum);
      sums[k] = table_.float64.sums.plain(of_sum, /*scale=*/1, n);
    }
  }

  void prefetch_all(const Block& block) const {
    prefetch_block(block.param, 2 * block_size);
    prefetch_block(block.grad, 2 * block_size);
    for (int s = 0; s < Streams::max_states; ++s)
      if (block.states[s]) prefetch_block(static_cast<T*>(block.states[s]), 2 * block_size);
  }

  void update_all(const Block& block, std::int64_t n, std::int64_t number) const {
    T* p = block.param;
    T changed[block_size];
    if (n == block_size) {  // others end their array
      prefetch_block(block.param, 2 * block_size);
      prefetch_block(block.grad, 2 * block_size);
    }
    const T* g = apply_terms_before(block, n, number, changed);
    rule_.update(folded_, n, p, g, block.states);
    if (decays_after() && penalties_.decay != 0) loops_.decay(n, penalties_.decay, p);
    if (threshold_ != 0 && step_.scaled_prox) rule_.shrink(folded_, n, threshold_, p, block.states);
    if (threshold_ != 0 && !step_.scaled_prox) loops_.shrink(n, threshold_, p);
    if (step_.terms.nonneg != 0) loops_.cut_negative(n, p);
    if (block.ema) average(n, p, block.ema);
    if (step_.zero_grads) std::fill_n(block.grad, n, T(0));
  }

  // Near the average, the form that starts from there rounds less, and near the parameter the other
  // one. A term whose coefficient is zero is absent: an average without decay forgets what it held.
  void average(std::int64_t n, const T* p, T* ema) const {
    const double one_minus_decay = 1 - step_.ema_decay;
    const T toward = T(one_minus_decay), back = T(1 - one_minus_decay);
    if (toward == 0) return;
    if (toward < T(0.5)) return loops_.average_from_ema(n, toward, p, ema);
    if (back == 0) return loops_.average_is_param(n, p, ema);
    loops_.average_from_param(n, back, p, ema);
  }

  // Applies the terms that come before the rule. Returns where the gradient is that the rule shall
  // see: in `to` if it had to be changed.
  const T* apply_terms_before(const Block& block, std::int64_t n, std::int64_t number,
                              T* to) const {
    const T* g = block.grad;
    PenaltyScalars<T> scalars = penalties_;
    if (first_scale_ != 1) {
      loops_.scale(n, first_scale_, g, to);
      g = to;
    }
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
    const bool decays = scalars.decay != 0 && !decays_after();
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
  const void* folded_;
  const Update& step_;
  bool generates_;
  unsigned packed_;
  PenaltyScalars<T> penalties_;
  T clip_value_, keep_scale_, threshold_;
  T first_scale_ = 1;  // where the scale of the gradient takes two multiplications
  DropoutStream drop_{0, 0, 0};
};

template <class T>
void update_elements(const KernelTable& table, const Update& step, const Folded& rule,
                     const Tensors& list, const Tensor& tensor, std::int64_t begin,
                     std::int64_t end) {
  const TensorUpdate<T> update(table, step, rule, list, tensor);
  list.for_each_tile(tensor, begin, end, step.written,
                     [&](const Streams& at, std::int64_t first, std::int64_t count) {
                       update.run(at, count, first / block_size);
                     });
}

template <class T>
void measure_elements(const KernelTable& table, const Update& step, const Folded& rule,
                      const Tensors& list, const Tensor& tensor, std::int64_t begin,
                      std::int64_t end, double* sums) {
  const TensorUpdate<T> update(table, step, rule, list, tensor);
  constexpr unsigned nothing = 0;
  list.for_each_tile(tensor, begin, end, nothing,
                     [&](const Streams& at, std::int64_t first, std::int64_t count) {
                       const std::int64_t number = first / block_size;
                       update.measure(at, count, number,
                                      sums + (number - begin / block_size) * RuleVariant::max_sums);
                     });
}

// Whether there is nothing to do besides the rule.
bool only_rule(const Update& step, const Tensor& tensor) {
  const auto& at = tensor.streams.at;
  return step.bare && !at[Streams::mask] && !at[Streams::update_mask] && !at[Streams::ema] &&
         (!tensor.penalties || is_absent(*tensor.penalties));
}

}  // namespace

void Update::fold(const Rule& of, const double* options, double t, const bool* has) {
  scalars_ = of.scalars;
  options_ = options;
  t_ = t;
  lr = prox_lr = options[0];
  scaled_prox = of.scaled_prox >= 0 && options[of.scaled_prox] != 0;
  for (int dtype = 0; dtype < dtypes; ++dtype) {
    if (!has[dtype]) continue;
    double scalars[Rule::max_scalars];
    for (int i = 0; i < of.scalars.count; ++i) scalars[i] = of.scalars[i].start;
    const double metric_lr = rule->fold[dtype](options, t, scalars, &folded_[dtype]);
    if (scaled_prox) prox_lr = metric_lr;
  }
}

void Update::fold_for(const Tensor& tensor, Folded& own) const {
  double scalars[Rule::max_scalars];
  for (int i = 0; i < scalars_.count; ++i) scalars[i] = *tensor.numbers[i];
  rule->fold[int(tensor.dtype)](options_, t_, scalars, &own);
  for (int i = 0; i < scalars_.count; ++i) *tensor.numbers[i] = scalars[i];
}

void Update::note_what_is_absent() {
  bare = grad_scale.value == 1 && grad_scale.exponent == 0 && !tensor_scales && !drop &&
         terms.clip_value == Terms::never && terms.nonneg == 0 && !zero_grads &&
         is_absent(penalties);
}

void update_tensor(const KernelTable& table, const Update& step, const Folded& rule,
                   const Tensors& list, const Tensor& tensor, std::int64_t begin,
                   std::int64_t end) {
  if (only_rule(step, tensor)) {
    const RuleLoops& loops = table.rules[step.rule->id][int(tensor.dtype)];
    return list.for_each_tile(tensor, begin, end, step.written,
                              [&](const Streams& at, std::int64_t /*first*/, std::int64_t count) {
                                loops.update(&rule, count, at.at[Streams::param],
                                             at.at[Streams::grad], &at.at[Streams::first_state]);
                              });
  }
  const auto update =
      tensor.dtype == Dtype::float32 ? update_elements<float> : update_elements<double>;
  update(table, step, rule, list, tensor, begin, end);
}

void measure_tensor(const KernelTable& table, const Update& step, const Folded& rule,
                    const Tensors& list, const Tensor& tensor, std::int64_t begin, std::int64_t end,
                    double* sums) {
  const auto measure =
      tensor.dtype == Dtype::float32 ? measure_elements<float> : measure_elements<double>;
  measure(table, step, rule, list, tensor, begin, end, sums);
}

}  // namespace fastopt
