// What every step does around its rule: to the gradient before the rule sees it (scale, clipping by
// value, mask, L2, L1), to the parameter (decoupled weight decay, proximal L1), and with it (its
// moving average). A coefficient that is zero leaves its term out, because 0 * inf would make NaN.
#pragma once
#include <cmath>
#include <limits>

#include "platform.hpp"
#include "rule_options.hpp"

namespace fastopt {

struct TermOptions {
  double l1, l2, weight_decay;
  bool decay_after;
  double l1_prox, grad_scale;
  bool maximize;
  double keep_prob;
  bool zero_grads;
  double clip_value, ema_decay;

  template <class Reader>
  explicit TermOptions(Reader& read)
      : l1(read.number("l1", Range::non_negative)),
        l2(read.number("l2", Range::non_negative)),
        weight_decay(read.number("weight_decay", Range::non_negative)),
        decay_after(read.flag("decay_after")),
        l1_prox(read.number("l1_prox", Range::non_negative)),
        grad_scale(read.number("grad_scale", Range::finite)),
        maximize(read.flag("maximize")),
        keep_prob(read.number("keep_prob", Range::above_0_to_1)),
        zero_grads(read.flag("zero_grads")),
        clip_value(
            read.number_or("clip_value", Range::positive, std::numeric_limits<double>::infinity())),
        ema_decay(read.number_or("ema_decay", Range::zero_to_one, not_given)) {}

  static constexpr double not_given = -1;

  // True where nothing but the linear terms is asked for. (Zeroing gradients is no term.)
  bool linear() const { return l1 == 0 && l1_prox == 0 && std::isinf(clip_value); }

  // True where nothing is asked for, but for the scale, which clipping may change from step to
  // step.
  bool absent() const { return linear() && l2 == 0 && weight_decay == 0; }

  double signed_scale() const { return maximize ? -grad_scale : grad_scale; }
};

// sign(0) = 0 and sign(NaN) = NaN, as np.sign has it.
template <class T>
FASTOPT_INLINE T sign(T x) {
  return x > 0 ? T(1) : x < 0 ? T(-1) : x == 0 ? T(0) : x;
}

template <class T>
struct GradTerms {
  T keep_scale, l2, l1, decay_before, decay_after, prox_threshold, clip_value;
  T ema_decay, one_minus_ema_decay;

  GradTerms(const TermOptions& given, double lr)
      : keep_scale(T(1 / given.keep_prob)),
        l2(T(given.l2)),
        l1(T(given.l1)),
        decay_before(T(given.decay_after ? 0 : lr * given.weight_decay)),
        decay_after(T(given.decay_after ? lr * given.weight_decay : 0)),
        prox_threshold(T(lr * given.l1_prox)),
        clip_value(T(given.clip_value)),
        ema_decay(T(given.ema_decay)),
        one_minus_ema_decay(T(1 - given.ema_decay)) {}

  FASTOPT_INLINE T clipped(T g) const {  // NaN stays NaN
    return g < -clip_value ? -clip_value : g > clip_value ? clip_value : g;
  }

  FASTOPT_INLINE T masked(T g, bool keep) const { return keep ? g * keep_scale : T(0); }

  FASTOPT_INLINE T with_l2(T g, T p) const { return l2 != 0 ? g + l2 * p : g; }

  FASTOPT_INLINE T with_l1(T g, T p) const { return l1 != 0 ? g + l1 * sign(p) : g; }

  FASTOPT_INLINE T decayed_before(T p) const {
    return decay_before != 0 ? p - decay_before * p : p;
  }

  FASTOPT_INLINE T decayed_after(T p) const { return decay_after != 0 ? p - decay_after * p : p; }

  FASTOPT_INLINE T thresholded(T p) const {
    const T shrunk = std::fabs(p) - prox_threshold;
    return prox_threshold != 0 ? sign(p) * (shrunk < 0 ? T(0) : shrunk) : p;
  }

  FASTOPT_INLINE T average(T ema, T p) const { return ema_decay * ema + one_minus_ema_decay * p; }
};

}  // namespace fastopt
