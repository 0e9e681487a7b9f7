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
    for (int k = 0; k < group.rule->sums; ++k) sums[k] += task.sums_at(tensor, at)[k];
  group.rule->adapt[int(tensor.dtype)](sums, &task.own_rule(tensor));
}

}  // namespace

void Room::make_for(const Tensors& list, const Update* groups) {
  of_tensors.clear();
  of_blocks.clear();
  for (const Tensor& tensor : list.all) {
    const Update& group = groups[tensor.group];
    if (Task::has_own_rule(group)) of_tensors.resize(list.all.size());
    if (group.rule->sums > 0) of_blocks.resize(list.extent / block_size * RuleVariant::max_sums);
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
  if (space.elements < parallel_threshold || (space.elements < wake_threshold && !expect_workers()))
    threads = 1;
  parallel_for(space.extent, chunk_size(space.extent, unit, threads), threads, body, context);
}

}  // namespace fastopt
