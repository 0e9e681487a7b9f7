// What is tried with every rule.
#pragma once
#include "../../csrc/engine/update.hpp"

namespace native {

enum class Masks { none, bytes, bits, generated };

struct Case {
  const char* name;
  fastopt::Terms terms;
  double grad_scale = 1;
  Masks mask = Masks::none, update_mask = Masks::none;
  bool scaled_prox = false;
  bool own_penalties = false;  // each tensor has some of l2, l1 and decay
  bool ema = false;
  bool zero_grads = false;
  bool tensor_scales = false;
};

constexpr double never = fastopt::Terms::never;

// In the order of Terms: l1, l2, weight_decay, decay_after, l1_prox, nonneg, maximize, clip_value.
constexpr fastopt::Terms no_terms{0, 0, 0, 0, 0, 0, 0, never};

inline Case plain() { return {"plain", no_terms}; }

inline std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const char* name, const fastopt::Terms& terms) -> Case& {
    all.push_back({name, terms});
    return all.back();
  };
  add("penalties", {0.01, 0.02, 0.03, 0, 0, 0, 0, never});
  add("own_penalties", no_terms).own_penalties = true;
  add("prox", {0, 0, 0.03, 1, 0.05, 0, 0, never});
  add("scaled_prox", {0, 0, 0, 0, 0.05, 0, 0, never}).scaled_prox = true;
  add("clip", {0, 0, 0, 0, 0, 1, 1, 0.4}).grad_scale = 0.7;
  Case& factors = add("factors", no_terms);
  factors.tensor_scales = factors.zero_grads = true;
  Case& bytes = add("mask_bytes", no_terms);
  bytes.mask = bytes.update_mask = Masks::bytes;
  bytes.grad_scale = 1.3;
  Case& bits = add("mask_bits", {0, 0.02, 0, 0, 0, 0, 0, never});
  bits.mask = bits.update_mask = Masks::bits;
  Case& drop = add("drop_ema", no_terms);
  drop.mask = Masks::generated;
  drop.ema = true;
  for (const bool scaled : {false, true}) {
    Case& everything = add(scaled ? "all_scaled" : "all", {0.01, 0.02, 0.03, 0, 0.05, 1, 1, 0.4});
    everything.grad_scale = 0.7;
    everything.mask = scaled ? Masks::generated : Masks::bits;
    everything.update_mask = scaled ? Masks::bytes : Masks::bits;
    everything.scaled_prox = scaled;
    everything.ema = everything.zero_grads = everything.tensor_scales = true;
  }
  return all;
}

}  // namespace native
