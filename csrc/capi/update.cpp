// The rule alone, on one array.
#include <algorithm>
#include <string>

#include "../engine/launch.hpp"
#include "checks.hpp"
#include "functions.hpp"
#include "refusal.hpp"

namespace fastopt::c {
namespace {

// A rule with two phases, which go over the array one after the other. Not inlined, so that other
// rules do not pay for its room on the stack.
FASTOPT_NOINLINE void update_in_phases(const Rule& rule, const RuleVariant& variant, Tensor tensor,
                                       double* scalars, double t, const double* options) {
  static thread_local Tensors list;
  static thread_local Room room;
  for (int i = 0; i < rule.scalars.count; ++i) tensor.numbers[i] = &scalars[i];
  list.clear();
  list.add_flat(tensor, rule.factors.count > 0);
  bool has[dtypes] = {};
  has[int(tensor.dtype)] = true;
  Update update{};
  update.rule = &variant;
  update.terms.clip_value = Terms::never;
  update.grad_scale = {1};
  update.keep_scale = 1;
  update.fold(rule, options, t, has);
  update.note_what_is_absent();
  room.make_for(list, &update);
  constexpr int one_thread = 1;
  launch(list, &update, /*flush_denormals=*/false, one_thread, room);
}

}  // namespace

int update(int number, int dtype, int64_t n, void* param, const void* grad, void* const* state,
           double* scalars, int64_t step, const double* options) noexcept {
  const Rule& rule = all_rules()[number];
  const RuleVariant& variant = *variant_of(rule, state);
  void* states[Streams::max_states];
  int present = 0;
  for (int i = rule.flat_factors(); i < rule.flat_arrays(); ++i)
    if (state[i]) states[present++] = state[i];
  const auto t = static_cast<double>(step + 1);
  if (variant.sums > 0 || variant.has_estimate()) {
    Tensor tensor{};
    tensor.streams.at[Streams::param] = param;
    tensor.streams.at[Streams::grad] = const_cast<void*>(grad);
    std::copy_n(states, present, &tensor.streams.at[Streams::first_state]);
    for (int i = 0; i < rule.flat_factors(); ++i) tensor.factors[i] = state[i];
    tensor.size = n;
    tensor.dtype = Dtype(dtype);
    tensor.layout = -1;
    return guarded([&] {
      update_in_phases(rule, variant, tensor, scalars, t, options);
      return FASTOPT_OK;
    });
  }
  Folded folded;
  variant.fold[dtype](options, t, scalars, &folded);
  current_table().rules[variant.id][dtype].update(&folded, n, param, grad, states);
  return FASTOPT_OK;
}

int check_update(int number, int dtype, int64_t n, void* param, const void* grad,
                 void* const* state, double* scalars, int64_t step,
                 const double* options) noexcept {
  return guarded([&] {
    const Rule& rule = checked_rule("fastopt_update", number);
    const std::string function = std::string(rule.name) + "_step";
    const std::int64_t size = size_of(checked_dtype(function, dtype));
    check_size(function, n);
    if (!options) throw Refusal{function + ": options is NULL"};
    if (rule.scalars.count > 0 && !scalars) throw Refusal{function + ": scalars is NULL"};
    if (rule.flat_arrays() > 0 && !state) throw Refusal{function + ": state is NULL"};
    for (int i = 0; i < rule.options.count; ++i) check_range(function, rule.options[i], options[i]);
    check_count(function, "state.step", step);
    check_needs(function, rule, options, state);
    Memory memory(function);
    memory.add("params", param, n * size, size, true);
    memory.add("grads", grad, n * size, size, false);
    for (int i = 0; i < rule.flat_arrays(); ++i)
      if (state[i] || i < rule.flat_required())
        memory.add(std::string("state.") + rule.flat_array(i).name, state[i], n * size, size, true);
    memory.check_apart();
    const FoldedNumbers numbers{
        rule, *variant_of(rule, state), options, static_cast<double>(step + 1), scalars, 1, 1, {}};
    check_fits(function, numbers, Dtype(dtype), "params");
    return FASTOPT_OK;
  });
}

}  // namespace fastopt::c
