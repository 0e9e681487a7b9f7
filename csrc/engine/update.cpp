#include "update.hpp"

#include <algorithm>

#include "tensor_update.hpp"

namespace fastopt {
namespace {

bool is_absent(const Penalties& penalties) {
  return penalties.l1 == 0 && penalties.l2 == 0 && penalties.weight_decay == 0 &&
         penalties.l1_prox == 0;
}

// Calls work(update, at, count, number) for all parts of the elements [begin, end) that lie one
// behind the other; `number` is that of the first block.
template <class Work>
void for_each_part(const KernelTable& table, const Update& step, const Folded& rule,
                   const Tensors& list, const Tensor& tensor, std::int64_t begin, std::int64_t end,
                   unsigned written, const Work& work) {
  const auto go = [&](auto of_dtype) {
    const TensorUpdate<decltype(of_dtype)> update(table, step, rule, list, tensor);
    list.for_each_tile(tensor, begin, end, written,
                       [&](const Streams& at, std::int64_t first, std::int64_t count) {
                         work(update, at, count, first / block_size);
                       });
  };
  if (tensor.dtype == Dtype::float32)
    go(0.0f);
  else
    go(0.0);
}

constexpr unsigned nothing = 0;  // is written

// Whether there is nothing to do besides the rule.
bool only_rule(const Update& step, const Tensor& tensor) {
  const auto& at = tensor.streams.at;
  return step.bare && !at[Streams::mask] && !at[Streams::update_mask] && !at[Streams::ema] &&
         (!tensor.penalties || is_absent(*tensor.penalties));
}

// The rows that begin in [begin, end), some at a time: they are in the cache when they are gone
// over again.
template <class T>
void update_rows(const KernelTable& table, const Update& step, const Folded& rule,
                 const RowsAndColumns& of, const Tensor& tensor, std::int64_t begin,
                 std::int64_t end) {
  // Rows at a time: so many elements as fit in a page of memory. More were slower, by 0.3 at 4096.
  constexpr std::int64_t elements = 1024, most = 64;
  const RuleLoops& loops = table.rules[step.rule->id][int(tensor.dtype)];
  const FactoredMoment& moment = step.rule->moment[int(tensor.dtype)](&rule);
  T* means = static_cast<T*>(tensor.factors[0]);
  T* param = static_cast<T*>(tensor.streams.at[Streams::param]);
  const T* grad = static_cast<const T*>(tensor.streams.at[Streams::grad]);
  const std::int64_t size = of.row_size, behind = (end + size - 1) / size;
  const std::int64_t at_once = std::clamp<std::int64_t>(elements / size, 1, most);
  for (std::int64_t row = (begin + size - 1) / size; row < behind; row += at_once) {
    const std::int64_t count = std::min(at_once, behind - row), at = row * size;
    double squares[most];
    T of_rows[most];
    table.loops(T()).squares_of_rows(count, size, grad + at, squares);
    for (std::int64_t i = 0; i < count; ++i)
      means[row + i] = advanced(moment, means[row + i], squares[i] / static_cast<double>(size));
    loops.of_rows(&rule, count, means + row, of_rows);
    loops.update_rows(&rule, count, size, param + at, grad + at, of_rows);
  }
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

bool goes_by_rows(const Update& step, const Tensors& list, const Tensor& tensor) {
  if (!step.rule->can_go_by_rows || tensor.layout >= 0 || !only_rule(step, tensor)) return false;
  constexpr std::int64_t longest = 16384;  // with its gradients 256 KB in double: in a core's cache
  const RowsAndColumns& of = list.factored[tensor.factored];
  return of.rows_in_order() && of.row_size <= longest;
}

void update_tensor(const KernelTable& table, const Update& step, const Folded& rule,
                   const Tensors& list, const Tensor& tensor, std::int64_t begin,
                   std::int64_t end) {
  if (goes_by_rows(step, list, tensor)) {
    const RowsAndColumns& of = list.factored[tensor.factored];
    return (tensor.dtype == Dtype::float32
                ? update_rows<float>
                : update_rows<double>)(table, step, rule, of, tensor, begin, end);
  }
  if (step.rule->filled < 0 && only_rule(step, tensor)) {
    const RuleLoops& loops = table.rules[step.rule->id][int(tensor.dtype)];
    return list.for_each_tile(tensor, begin, end, step.written,
                              [&](const Streams& at, std::int64_t /*first*/, std::int64_t count) {
                                loops.update(&rule, count, at.at[Streams::param],
                                             at.at[Streams::grad], &at.at[Streams::first_state]);
                              });
  }
  for_each_part(table, step, rule, list, tensor, begin, end, step.written,
                [](const auto& update, const Streams& at, std::int64_t count, std::int64_t number) {
                  update.run(at, count, number);
                });
}

void measure_tensor(const KernelTable& table, const Update& step, const Folded& rule,
                    const Tensors& list, const Tensor& tensor, std::int64_t begin, std::int64_t end,
                    double* sums) {
  const std::int64_t first = begin / block_size;
  for_each_part(
      table, step, rule, list, tensor, begin, end, nothing,
      [&](const auto& update, const Streams& at, std::int64_t count, std::int64_t number) {
        update.measure(at, count, number, sums + (number - first) * RuleVariant::max_sums);
      });
}

void add_squares(const KernelTable& table, const Update& step, const Folded& rule,
                 const Tensors& list, const Tensor& tensor, std::int64_t begin, std::int64_t end,
                 const FactorSums& sums) {
  SquareSums all(table, sums, step.rule->has_columns);
  for_each_part(table, step, rule, list, tensor, begin, end, nothing,
                [&](const auto& update, const Streams& at, std::int64_t count,
                    std::int64_t number) { update.add_squares(at, count, number, all); });
  all.close();
}

void direct_tensor(const KernelTable& table, const Update& step, const Folded& rule,
                   const Tensors& list, const Tensor& tensor, std::int64_t begin,
                   std::int64_t end) {
  for_each_part(table, step, rule, list, tensor, begin, end, nothing,
                [](const auto& update, const Streams& at, std::int64_t count, std::int64_t number) {
                  update.direct(at, count, number);
                });
}

}  // namespace fastopt
