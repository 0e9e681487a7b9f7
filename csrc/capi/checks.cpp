#include "checks.hpp"

#include <algorithm>
#include <cmath>

#include "../engine/steps/ranges.hpp"
#include "refusal.hpp"

namespace fastopt::c {

const Rule& checked_rule(const char* function, int rule) {
  const auto& all = all_rules();
  if (rule < 0 || rule >= all.count)
    throw Refusal{std::string(function) + ": there is no rule " + std::to_string(rule)};
  return all[rule];
}

Dtype checked_dtype(const std::string& function, int dtype) {
  if (dtype < 0 || dtype >= dtypes)
    throw Refusal{function + ": the dtype must be FASTOPT_FLOAT32 or FASTOPT_FLOAT64, it is " +
                  std::to_string(dtype)};
  return Dtype(dtype);
}

void check_range(const std::string& function, const Option& option, double value) {
  if (!contains(option.range, value))
    throw Refusal{function + ": " + condition(option.range, option.name) + ", it is " +
                  as_text(value)};
}

void check_count(const std::string& function, const std::string& name, std::int64_t count) {
  if (count < 0 || count >= std::int64_t{1} << 53)
    throw Refusal{function + ": 0 <= " + name + " < 2**53 must hold, it is " +
                  std::to_string(count)};
}

void check_threads(const std::string& function, double threads) {
  constexpr int most = 1024;
  if (!(threads >= 1 && threads <= most && threads == std::floor(threads)))
    throw Refusal{function + ": 1 <= threads <= " + std::to_string(most) + " must hold, it is " +
                  as_text(threads)};
}

void check_size(const std::string& function, std::int64_t n) {
  constexpr std::int64_t most = std::int64_t{1} << 48;
  if (n < 0 || n > most)
    throw Refusal{function + ": 0 <= n <= 2**48 must hold, it is " + std::to_string(n)};
}

void check_drop(const std::string& function, double p) {
  check_range(function, {"p", Range::zero_to_one}, p);
}

const RuleVariant* variant_of(const Rule& rule, void* const* state) {
  int variant = 0;
  for (int i = rule.flat_factors() + rule.required; i < rule.flat_arrays(); ++i)
    variant = 2 * variant + (state && state[i] != nullptr);
  return &rule.variants[variant];
}

void check_needs(const std::string& function, const Rule& rule, const double* options,
                 void* const* state) {
  for (int i = 0; i < rule.options.count; ++i) {
    const Option& option = rule.options[i];
    if (!option.needs || options[i] == 0) continue;
    for (int k = rule.flat_required(); k < rule.flat_arrays(); ++k)
      if (rule.flat_array(k).name == std::string(option.needs) && !(state && state[k]))
        throw Refusal{function + ": " + option.name + "=" + as_text(options[i]) + " needs state." +
                      option.needs + ", which is NULL"};
  }
}

void check_fits(const std::string& function, const FoldedNumbers& numbers, Dtype dtype,
                const std::string& params) {
  const Misfit misfit = find_misfit(numbers, dtype);
  if (misfit.name) throw Refusal{function + ": " + text_of(misfit, dtype) + params};
}

void Memory::add(const std::string& name, const void* data, std::int64_t bytes,
                 std::int64_t alignment, bool written) {
  if (bytes == 0) return;
  if (!data) throw Refusal{function_ + ": " + name + " is NULL"};
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  if (begin % alignment != 0)
    throw Refusal{function_ + ": " + name + " is not aligned in memory for its dtype"};
  const auto number = static_cast<std::int32_t>(names_.size());
  spans_.push_back({begin, begin + bytes, 0, number, 0, written});
  names_.push_back(name);
}

void Memory::check_apart() {
  const auto always = [](void*, const Span&, const Span&) { return true; };
  if (!find_overlap(spans_, scratch_, always, nullptr)) return;
  const int a = spans_[0].entry, b = spans_[1].entry;
  throw Refusal{function_ + ": " + names_[std::min(a, b)] + " and " + names_[std::max(a, b)] +
                " overlap in memory"};
}

}  // namespace fastopt::c
