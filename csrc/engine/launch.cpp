#include "launch.hpp"

#include <algorithm>
#include <cstring>

#include "../kernels/denormals.hpp"

namespace fastopt {
namespace {

// Elements that a thread claims at a time: so many that the claim and the jump to another place in
// memory cost nothing, and in smaller tasks so few that threads finish together.
constexpr std::int64_t max_chunk = 16384, update_unit = 2048, chunks_per_thread = 8;

std::int64_t chunk_size(std::int64_t extent, std::int64_t unit, int threads) {
  const std::int64_t even = extent / (threads * chunks_per_thread);
  return std::clamp(even / unit * unit, unit, max_chunk);
}

// Below this many elements a second thread does not pay, for any rule (SGD is the last to gain).
constexpr std::int64_t parallel_threshold = 24576;

// The same where the other threads are asleep: waking one takes the caller about 17 us on a virtual
// machine, as long as Adam takes for 45,000 elements and SGD for 200,000.
constexpr std::int64_t wake_threshold = 262144;

int threads_that_pay(IndexSpace space, int threads) {
  const bool is_small = space.elements < parallel_threshold;
  return is_small || (space.elements < wake_threshold && !expect_workers()) ? 1 : threads;
}

struct Task {
  const Tensors& list;
  const Update* groups;
  const KernelTable& table;
  bool flush_denormals;
  Room& room;

  const Folded& rule_for(const Tensor& tensor) const {
    const Update& group = groups[tensor.group];
    return has_own_rule(group) ? own_rule(tensor) : group.folded(tensor.dtype);
  }

  static bool has_own_rule(const Update& group) {
    return group.rule->sums > 0 || group.has_numbers();
  }

  Folded& own_rule(const Tensor& tensor) const { return room.of_tensors[&tensor - &list.all[0]]; }

  double* sums_at(const Tensor& tensor, std::int64_t element) const {
    return &room.of_blocks[(tensor.offset + element) / block_size * RuleVariant::max_sums];
  }
};

void run_range(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  const FlushDenormals mode(task.flush_denormals);
  task.list.for_each_piece(begin, end,
                           [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
                             update_tensor(task.table, task.groups[tensor.group],
                                           task.rule_for(tensor), task.list, tensor, from, to);
                           });
}

void measure_range(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  const FlushDenormals mode(task.flush_denormals);
  task.list.for_each_piece(
      begin, end, [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
        if (task.groups[tensor.group].rule->sums > 0)
          measure_tensor(task.table, task.groups[tensor.group], task.rule_for(tensor), task.list,
                         tensor, from, to, task.sums_at(tensor, from));
      });
}

bool is_masked(const Tensor& tensor) { return tensor.streams.at[Streams::update_mask] != nullptr; }

FactorSums sums_in(const Task& task, const Room::Part& part) {
  const RowsAndColumns& of = task.list.factored[part.tensor->factored];
  if (of.is_whole()) return {};
  return FactorSums::in(&task.room.of_factors[part.sums], of, is_masked(*part.tensor));
}

// Parts are the same however many threads there are.
void add_squares_of_parts(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  const FlushDenormals mode(task.flush_denormals);
  for (std::int64_t i = begin; i < end; ++i) {
    const Room::Part& part = task.room.parts[i];
    const Tensor& tensor = *part.tensor;
    const std::int64_t blocks = (tensor.size + block_size - 1) / block_size;
    const auto edge = [&](int number) {
      return std::min(blocks * number / part.of * block_size, tensor.size);
    };
    const RowsAndColumns& of = task.list.factored[tensor.factored];
    if (!of.is_whole())
      std::fill_n(&task.room.of_factors[part.sums], FactorSums::room(of, is_masked(tensor)), 0.0);
    add_squares(task.table, task.groups[tensor.group], task.rule_for(tensor), task.list, tensor,
                edge(part.number), edge(part.number + 1), sums_in(task, part));
  }
}

template <class T>
void advance_factors_of(const Task& task, const Room::Part& first) {
  const Tensor& tensor = *first.tensor;
  const RowsAndColumns& of = task.list.factored[tensor.factored];
  const Update& group = task.groups[tensor.group];
  advance_factors(of, group.rule->moment[int(tensor.dtype)](&task.rule_for(tensor)), first.of,
                  is_masked(tensor), &task.room.of_factors[first.sums],
                  static_cast<T*>(tensor.factors[0]), static_cast<T*>(tensor.factors[1]));
}

void advance_all_factors(const Task& task) {
  for (const Room::Part& part : task.room.parts) {
    if (part.number > 0 || task.list.factored[part.tensor->factored].is_whole()) continue;
    if (part.tensor->dtype == Dtype::float32)
      advance_factors_of<float>(task, part);
    else
      advance_factors_of<double>(task, part);
  }
}

void clear_range(const void* context, std::int64_t begin, std::int64_t end) {
  const Tensors& list = *static_cast<const Tensors*>(context);
  constexpr unsigned written = 1u << Streams::grad;
  list.for_each_piece(begin, end, [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
    list.for_each_tile(tensor, from, to, written,
                       [&](const Streams& at, std::int64_t /*first*/, std::int64_t count) {
                         std::memset(at.at[Streams::grad], 0,
                                     count * item_size(Streams::grad, tensor.dtype));
                       });
  });
}

// Gives a tensor a rule of its own.
void fold_for(const Task& task, const Tensor& tensor) {
  const Update& group = task.groups[tensor.group];
  if (!Task::has_own_rule(group)) return;
  if (group.has_numbers())
    group.fold_for(tensor, task.own_rule(tensor));
  else
    task.own_rule(tensor) = group.folded(tensor.dtype);
}

// Tells it the sums over its blocks.
void adapt(const Task& task, const Tensor& tensor) {
  const Update& group = task.groups[tensor.group];
  double sums[RuleVariant::max_sums] = {};
  for (std::int64_t at = 0; at < tensor.size; at += block_size)
    for (int k = 0; k <= group.rule->sums; ++k) sums[k] += task.sums_at(tensor, at)[k];
  group.rule->adapt[int(tensor.dtype)](sums, &task.own_rule(tensor));
}

}  // namespace

void Room::make_for(Tensors& list, const Update* groups) {
  of_tensors.clear();
  of_blocks.clear();
  parts.clear();
  std::size_t of_all_factors = 0;
  for (const Tensor& tensor : list.all) {
    const Update& group = groups[tensor.group];
    if (Task::has_own_rule(group)) of_tensors.resize(list.all.size());
    if (group.rule->sums > 0) of_blocks.resize(list.extent / block_size * RuleVariant::max_sums);
    if (group.rule->estimate < 0) continue;
    const RowsAndColumns& of = list.factored[tensor.factored];
    for (int number = 0, count = of.parts(tensor.size); number < count; ++number) {
      parts.push_back({&tensor, number, count, of_all_factors});
      of_all_factors += of.is_whole() ? 0 : FactorSums::room(of, is_masked(tensor));
    }
    if (!of.is_whole()) of_all_factors += of.rows + of.columns;
  }
  of_factors.resize(of_all_factors);
  for (const Part& part : parts) {
    RowsAndColumns& of = list.factored[part.tensor->factored];
    const std::int64_t room = FactorSums::room(of, is_masked(*part.tensor));
    if (part.number > 0 || of.is_whole()) continue;
    of.inverse_rows = &of_factors[part.sums + part.of * room];
    of.inverse_columns = &of_factors[part.sums + part.of * room + of.rows];
  }
}

void launch(const Tensors& list, const Update* groups, bool flush_denormals, int threads,
            Room& room) {
  const Task task{list, groups, current_table(), flush_denormals, room};
  for (const Tensor& tensor : list.all)
    if (!room.of_tensors.empty()) fold_for(task, tensor);
  for (const Tensor& tensor : list.empty) {
    Folded unused;
    groups[tensor.group].fold_for(tensor, unused);
  }
  if (!room.parts.empty()) {
    parallel_for(static_cast<std::int64_t>(room.parts.size()), /*chunk=*/1,
                 threads_that_pay(list.index_space(), threads), add_squares_of_parts, &task);
    advance_all_factors(task);
  }
  if (!room.of_blocks.empty()) {
    run_chunks(list.index_space(), update_unit, threads, measure_range, &task);
    for (const Tensor& tensor : list.all)
      if (groups[tensor.group].rule->sums > 0) adapt(task, tensor);
  }
  run_chunks(list.index_space(), update_unit, threads, run_range, &task);
}

void clear_gradients(const Tensors& list, int threads) {
  run_chunks(list.index_space(), update_unit, threads, clear_range, &list);
}

void run_chunks(IndexSpace space, std::int64_t unit, int threads, RangeBody body,
                const void* context) {
  threads = threads_that_pay(space, threads);
  parallel_for(space.extent, chunk_size(space.extent, unit, threads), threads, body, context);
}

}  // namespace fastopt
