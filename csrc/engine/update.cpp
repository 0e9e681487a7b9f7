#include "update.hpp"

#include "tensor_update.hpp"

namespace fastopt {
namespace {

bool is_absent(const Penalties& penalties) {
  return penalties.l1 == 0 && penalties.l2 == 0 && penalties.weight_decay == 0 &&
         penalties.l1_prox == 0;
}

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

template <class T>
void add_squares_of_elements(const KernelTable& table, const Update& step, const Folded& rule,
                             const Tensors& list, const Tensor& tensor, std::int64_t begin,
                             std::int64_t end, const FactorSums& sums) {
  const TensorUpdate<T> update(table, step, rule, list, tensor);
  constexpr unsigned nothing = 0;
  list.for_each_tile(tensor, begin, end, nothing,
                     [&](const Streams& at, std::int64_t first, std::int64_t count) {
                       update.add_squares(at, count, first / block_size, sums);
                     });
}

template <class T>
void direct_elements(const KernelTable& table, const Update& step, const Folded& rule,
                     const Tensors& list, const Tensor& tensor, std::int64_t begin,
                     std::int64_t end) {
  const TensorUpdate<T> update(table, step, rule, list, tensor);
  constexpr unsigned nothing = 0;
  list.for_each_tile(tensor, begin, end, nothing,
                     [&](const Streams& at, std::int64_t first, std::int64_t count) {
                       update.direct(at, count, first / block_size);
                     });
}

// Whether there is nothing to do besides the rule.
bool only_rule(const Update& step, const Tensor& tensor) {
  const auto& at = tensor.streams.at;
  return step.bare && step.rule->filled < 0 && !at[Streams::mask] && !at[Streams::update_mask] &&
         !at[Streams::ema] && (!tensor.penalties || is_absent(*tensor.penalties));
}

}  // namespace

void Update::fold(const Rule& of, const double* options, double t, const bool* has) {
  scalars_ = of.scalars;
  options_ = options;
  t_ = t;
  in_common_ = of.in_common(options);
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

void Update::copy_numbers(const Tensor& from, const Tensor& to) const {
  for (int i = 0; i < scalars_.count; ++i) *to.numbers[i] = *from.numbers[i];
}

void Update::adapt(const double* sums, const Tensor& tensor, Folded& own) const {
  double scalars[Rule::max_scalars];
  for (int i = 0; i < scalars_.count; ++i) scalars[i] = *tensor.numbers[i];
  rule->adapt[int(tensor.dtype)](sums, options_, scalars, &own);
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

void add_squares(const KernelTable& table, const Update& step, const Folded& rule,
                 const Tensors& list, const Tensor& tensor, std::int64_t begin, std::int64_t end,
                 const FactorSums& sums) {
  const auto add = tensor.dtype == Dtype::float32 ? add_squares_of_elements<float>
                                                  : add_squares_of_elements<double>;
  add(table, step, rule, list, tensor, begin, end, sums);
}

void direct_tensor(const KernelTable& table, const Update& step, const Folded& rule,
                   const Tensors& list, const Tensor& tensor, std::int64_t begin,
                   std::int64_t end) {
  const auto direct =
      tensor.dtype == Dtype::float32 ? direct_elements<float> : direct_elements<double>;
  direct(table, step, rule, list, tensor, begin, end);
}

}  // namespace fastopt
