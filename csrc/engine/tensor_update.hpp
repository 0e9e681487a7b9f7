// A step on the elements of one tensor, block by block: the terms before the rule, the rule, the
// terms after it.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "../kernels/prefetch.hpp"
#include "square_sums.hpp"
#include "tensors/masks.hpp"
#include "update.hpp"

namespace fastopt {

inline const Penalties& penalties_of(const Update& step, const Tensor& tensor) {
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
    if (step.rule->filled < 0) return;
    factored_ = &list.factored[tensor.factored];
    if (!step.rule->has_estimate()) return;
    moment_ = &step.rule->moment[int(tensor.dtype)](&rule);
    rows_ = static_cast<T*>(tensor.factors[0]);
    has_columns_ = step.rule->has_columns;
  }

  // Updates n elements from where `at` points on. `number` is that of the first block.
  void run(const Streams& at, std::int64_t n, std::int64_t number) const {
    auto runs = runs_from(number);
    for (std::int64_t begin = 0; begin < n; begin += block_size, ++number) {
      const std::int64_t count = std::min(block_size, n - begin);
      T filled[block_size];
      update_block(block_at(at, begin, count, runs, filled), count, number);
    }
  }

  void measure(const Streams& at, std::int64_t n, std::int64_t number, double* sums) const {
    auto runs = runs_from(number);
    for (std::int64_t begin = 0; begin < n; begin += block_size, ++number) {
      const std::int64_t count = std::min(block_size, n - begin);
      T filled[block_size];
      measure_block(block_at(at, begin, count, runs, filled), count, number, sums);
      sums += RuleVariant::max_sums;
    }
  }

  void add_squares(const Streams& at, std::int64_t n, std::int64_t number, SquareSums& sums) const {
    auto runs = runs_from(number);
    for (std::int64_t begin = 0; begin < n; begin += block_size, ++number)
      add_squares_of(Block(at, begin, packed_), std::min(block_size, n - begin), number, runs,
                     sums);
  }

  void direct(const Streams& at, std::int64_t n, std::int64_t number) const {
    auto runs = runs_from(number);
    for (std::int64_t begin = 0; begin < n; begin += block_size, ++number)
      direct_block(Block(at, begin, packed_), std::min(block_size, n - begin), number, runs);
  }

 private:
  using Runs = RowsAndColumns::Runs;

  // Phases that only read are ahead of the memory sooner.
  static constexpr std::int64_t far_ahead = 16 * block_size;

  Runs runs_from(std::int64_t number) const { return {factored_, number * block_size}; }

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

  // With its estimate by rows and columns, what is made of its rows, or what its direction became,
  // where the rule has one.
  Block block_at(const Streams& streams, std::int64_t begin, std::int64_t n, Runs& runs,
                 T* filled) const {
    Block block(streams, begin, packed_);
    if (factored_) {
      if (!moment_)
        read_direction(n, runs, filled);
      else if (has_columns_)
        read_estimate(n, runs, filled);
      else
        read_rows(n, runs, filled);
      block.states[step_.rule->filled] = filled;
    }
    return block;
  }

  void read_direction(std::int64_t n, Runs& runs, T* to) const {
    const T* all = static_cast<const T*>(factored_->direction);
    runs.next_places(n, [&](auto from, auto count, auto place, auto stride) {
      for (std::int64_t i = 0; i < count; ++i) to[from + i] = all[place + i * stride];
    });
  }

  void direct_block(Block block, std::int64_t n, std::int64_t number, Runs& runs) const {
    T changed[block_size], made[block_size];
    const T* g = apply_terms_before(block, n, number, changed, /*may_decay=*/false);
    block.states[step_.rule->filled] = made;
    rule_.direct(folded_, n, g, block.states);
    if (block.update_mask) {
      static constexpr T zeros[block_size] = {};
      std::uint8_t unpacked[block_size];
      loops_.restore(n, bytes(block.update_mask, Streams::update_mask, n, unpacked), zeros, made);
    }
    T* all = static_cast<T*>(factored_->direction);
    runs.next_places(n, [&](auto from, auto count, auto place, auto stride) {
      for (std::int64_t i = 0; i < count; ++i) all[place + i * stride] = made[from + i];
    });
  }

  void read_rows(std::int64_t n, Runs& runs, T* to) const {
    runs.next(n, [&](auto from, auto count, auto row, auto by_row, auto /*column*/, auto /*by*/) {
      if (by_row == 1) return rule_.of_rows(folded_, count, rows_ + row, to + from);
      T one;
      if (by_row == 0) {
        rule_.of_rows(folded_, 1, rows_ + row, &one);
        return loops_.scale(count, one, block_of_ones<T>.data(), to + from);  // in vectors
      }
      for (std::int64_t i = 0; i < count; ++i)
        rule_.of_rows(folded_, 1, rows_ + row + i * by_row, to + from + i);
    });
  }

  void read_estimate(std::int64_t n, Runs& runs, T* to) const {
    const T most = T(1 / moment_->least_root);
    const T* rows = factored_->is_whole() ? rows_ : static_cast<const T*>(factored_->inverse_rows);
    const T* columns = static_cast<const T*>(factored_->inverse_columns);
    runs.next(n, [&](auto from, auto count, auto row, auto by_row, auto column, auto by) {
      T* out = to + from;
      if (factored_->is_whole() && by_row == 1)
        return loops_.inverse_root(count, most, rows + row, out);
      if (by_row == 0 && by == 1)
        return loops_.multiply(count, rows[row], most, columns + column, out);
      if (by_row == 1 && by == 0)
        return loops_.multiply(count, columns[column], most, rows + row, out);
      for (std::int64_t i = 0; i < count; ++i)
        if (factored_->is_whole())
          loops_.inverse_root(1, most, rows + row + i * by_row, out + i);
        else
          loops_.multiply(1, rows[row + i * by_row], most, columns + column + i * by, out + i);
    });
  }

  void add_squares_of(const Block& block, std::int64_t n, std::int64_t number, Runs& runs,
                      SquareSums& sums) const {
    T changed[block_size];
    if (n == block_size) prefetch_block(block.grad, far_ahead);
    const T* g = apply_terms_before(block, n, number, changed, /*may_decay=*/false);
    std::uint8_t unpacked[block_size];
    const std::uint8_t* takes_part = nullptr;
    if (block.update_mask) {
      takes_part = bytes(block.update_mask, Streams::update_mask, n, unpacked);
      static constexpr T zeros[block_size] = {};
      if (g != changed) std::copy_n(g, n, changed);
      g = changed;
      loops_.restore(n, takes_part, zeros, changed);
    }
    runs.next(n, [&](auto from, auto count, auto row, auto by_row, auto column, auto by) {
      const std::uint8_t* part = takes_part ? takes_part + from : nullptr;
      if (factored_->is_whole())
        return advance_elements(count, g + from, part, rows_ + row, by_row);
      sums.add(count, g + from, row, by_row, column, by);
      if (part) sums.count(count, part, row, by_row, column, by);
    });
  }

  void advance_elements(std::int64_t n, const T* g, const std::uint8_t* takes_part, T* means,
                        std::int64_t stride) const {
    double squares[block_size];
    loops_.square(n, g, squares);
    for (std::int64_t i = 0; i < n; ++i)
      if (!takes_part || takes_part[i] != 0)
        means[i * stride] = advanced(*moment_, means[i * stride], squares[i]);
  }

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
    const bool decays = penalties_.decay != 0 && !step_.rule->sums_before_decay;
    if (decays) {
      std::copy_n(block.param, n, param);
      seen.param = param;
    }
    const T* g = apply_terms_before(seen, n, number, changed, decays);
    std::uint8_t unpacked[block_size];
    const std::uint8_t* takes_part = nullptr;
    if (block.update_mask) takes_part = bytes(block.update_mask, Streams::update_mask, n, unpacked);
    rule_.measure(folded_, n, seen.param, g, block.states, takes_part, sums);
    double& count = sums[step_.rule->sums] = static_cast<double>(n);
    if (takes_part) count = static_cast<double>(n - std::count(takes_part, takes_part + n, 0));
  }

  void prefetch_all(const Block& block) const {
    prefetch_block(block.param, far_ahead);
    prefetch_block(block.grad, far_ahead);
    for (int s = 0; s < Streams::max_states; ++s)
      if (block.states[s] && s != step_.rule->filled)
        prefetch_block(static_cast<T*>(block.states[s]), far_ahead);
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
  const T* apply_terms_before(const Block& block, std::int64_t n, std::int64_t number, T* to,
                              bool may_decay = true) const {
    const T* g = block.grad;
    PenaltyScalars<T> scalars = penalties_;
    if (!may_decay) scalars.decay = 0;
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
  const FactoredMoment* moment_ = nullptr;
  const RowsAndColumns* factored_ = nullptr;
  T* rows_ = nullptr;
  bool has_columns_ = false;
};

}  // namespace fastopt
