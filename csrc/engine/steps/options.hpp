// The numbers that every step takes besides the options of its rule.
#pragma once
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

#include "../update.hpp"

namespace fastopt {

// The options that all groups of a step have in common.
struct Shared {
  double grad_scale, keep_prob;
  double clip_norm, clip_tensor_norm, clip_eps;
  double skip_nonfinite, ema_decay, zero_grads, flush_denormals, threads;

  static constexpr double not_given = -1, raises = 2;

  bool clips() const { return clip_norm != Terms::never; }
  bool clips_tensors() const { return clip_tensor_norm != Terms::never; }
  bool skips() const { return skip_nonfinite != 0; }
  bool need_norms() const { return clips() || clips_tensors() || skips(); }
};

constexpr int shared_skip_nonfinite = offsetof(Shared, skip_nonfinite) / sizeof(double);
constexpr int term_count = sizeof(Terms) / sizeof(double);
constexpr int shared_count = sizeof(Shared) / sizeof(double);
constexpr int number_count = term_count + shared_count, first_shared = term_count;

// All of them, in the order of Terms and of Shared.
constexpr Option step_numbers[number_count] = {
    // Terms
    {"l1", Range::non_negative},
    {"l2", Range::non_negative},
    {"weight_decay", Range::non_negative},
    {"decay_after", Range::flag},
    {"l1_prox", Range::non_negative},
    {"nonneg", Range::flag},
    {"maximize", Range::flag},
    {"clip_value", Range::positive, Terms::never},
    // Shared
    {"grad_scale", Range::finite, 1},
    {"keep_prob", Range::above_0_to_1, 1},
    {"clip_norm", Range::positive, Terms::never},
    {"clip_tensor_norm", Range::positive, Terms::never},
    {"clip_eps", Range::non_negative, 1e-6},
    {"skip_nonfinite", Range::flag},
    {"ema_decay", Range::zero_to_one, Shared::not_given},
    {"zero_grads", Range::flag},
    {"flush_denormals", Range::flag},
    {"threads", Range::positive},
};

// Looks it up while code is compiled.
constexpr const Option& step_number(std::string_view name) {
  for (const Option& option : step_numbers)
    if (option.name == name) return option;
  throw "there is none of this name";
}

// Sets some of the numbers that a struct of doubles consists of.
template <class Numbers>
void set_numbers(Numbers& to, int first, const double* from, int count) {
  std::memcpy(reinterpret_cast<char*>(&to) + first * sizeof(double), from, count * sizeof(double));
}

// Why these options exclude each other, or null.
inline const char* why_not_together(const Shared& shared) {
  return shared.clips() && shared.clips_tensors()
             ? "clip_norm and clip_tensor_norm exclude each other"
             : nullptr;
}

// The same of options and what comes with them; what is not given is `none` there. "" if all is
// right.
struct Companions {
  bool mask, drop, ema;
};
inline std::string why_not_together(const Shared& shared, const Companions& given,
                                    const char* none) {
  const bool has_decay = shared.ema_decay != Shared::not_given;
  if (given.mask && given.drop) return "mask and drop exclude each other";
  if (shared.keep_prob != 1 && !given.mask)
    return std::string("keep_prob needs a mask, which is ") + none;
  if (given.ema && !has_decay) return std::string("ema needs ema_decay, which is ") + none;
  if (has_decay && !given.ema) return std::string("ema_decay needs ema, which is ") + none;
  const char* why = why_not_together(shared);
  return why ? why : "";
}

}  // namespace fastopt
