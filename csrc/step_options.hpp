// The options that all steps share. They are keywords, declared to Python in fastopt/options.py;
// the order here is that in which steps read them.
#pragma once
#include <Python.h>

#include <array>
#include <limits>

#include "rule_options.hpp"

namespace fastopt {

// The strength of a penalty: one number, or a tree of numbers, in which a number may stand where
// params has a container.
struct Penalty {
  const char* name;
  double value;
  PyObject* tree;  // borrowed; null where there is one number
};

struct Penalties {
  enum Id { l1, l2, weight_decay, l1_prox, count };
  using Values = std::array<double, count>;  // those of one tensor
  Penalty at[count];

  Penalties() : at() {}

  template <class Reader>
  explicit Penalties(Reader& read)
      : at{read.penalty("l1"), read.penalty("l2"), read.penalty("weight_decay"),
           read.penalty("l1_prox")} {}

  // What they are where they are no trees.
  Values values() const {
    return {at[l1].value, at[l2].value, at[weight_decay].value, at[l1_prox].value};
  }
};

// What happens to the gradient before the rule sees it, and to the parameter around the rule.
struct TermOptions {
  Penalties penalties;
  bool decay_after, nonneg;
  double grad_scale;
  bool maximize;
  double keep_prob;
  bool zero_grads;
  double clip_value, ema_decay;

  template <class Reader>
  explicit TermOptions(Reader& read)
      : penalties(read),
        decay_after(read.flag("decay_after")),
        nonneg(read.flag("nonneg")),
        grad_scale(read.number("grad_scale", Range::finite, 1)),
        maximize(read.flag("maximize")),
        keep_prob(read.number("keep_prob", Range::above_0_to_1, 1)),
        zero_grads(read.flag("zero_grads")),
        clip_value(read.number_or_none("clip_value", Range::positive, never)),
        ema_decay(read.number_or_none("ema_decay", Range::zero_to_one, not_given)) {}

  static constexpr double never = std::numeric_limits<double>::infinity(), not_given = -1;

  // Takes over what all groups of a step have in common.
  void take_shared(const TermOptions& shared) {
    grad_scale = shared.grad_scale;
    keep_prob = shared.keep_prob;
    zero_grads = shared.zero_grads;
    if (ema_decay == not_given) ema_decay = shared.ema_decay;
  }

  double signed_scale() const { return maximize ? -grad_scale : grad_scale; }
};

// Clipping of gradients by their norm.
struct ClipOptions {
  double norm, tensor_norm;  // infinity where not asked for
  double eps;
  bool skip_nonfinite;

  template <class Reader>
  explicit ClipOptions(Reader& read)
      : norm(read.number_or_none("clip_norm", Range::positive, TermOptions::never)),
        tensor_norm(read.number_or_none("clip_tensor_norm", Range::positive, TermOptions::never)),
        eps(read.number("clip_eps", Range::non_negative, 1e-6)),
        skip_nonfinite(read.flag("skip_nonfinite")) {}

  bool global() const { return norm != TermOptions::never; }
  bool by_tensor() const { return tensor_norm != TermOptions::never; }
  bool need_norms() const { return global() || by_tensor() || skip_nonfinite; }
};

// What comes with the call: arrays like params (null where not given), and how to run.
struct CallOptions {
  PyObject *mask, *drop, *update_mask, *ema;
  bool flush_denormals;
  int threads;  // 0: so many as are set for all calls

  template <class Reader>
  explicit CallOptions(Reader& read)
      : mask(read.object("mask")),
        drop(read.object("drop")),
        update_mask(read.object("update_mask")),
        ema(read.object("ema")),
        flush_denormals(read.flag("flush_denormals")),
        threads(read.threads("threads")) {}
};

struct StepOptions {
  TermOptions terms;
  ClipOptions clip;
  CallOptions call;

  template <class Reader>
  explicit StepOptions(Reader& read) : terms(read), clip(read), call(read) {}
};

// Pascanu et al. 2013, algorithm 1, with torch's eps in the denominator. A norm that is NaN gives
// NaN: a gradient that is broken stays visible.
inline double clip_factor(double max_norm, double norm, double eps) {
  const double factor = max_norm / (norm + eps);
  return factor >= 1 ? 1 : factor;
}

}  // namespace fastopt
