#include "launch.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>

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
  return FactorSums::in(&task.room.of_factors[part.sums], part.rows, of.columns,
                        is_masked(*part.tensor));
}

void direct_range(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  const FlushDenormals mode(task.flush_denormals);
  task.list.for_each_piece(begin, end,
                           [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
                             if (task.groups[tensor.group].rule->has_directions())
                               direct_tensor(task.table, task.groups[tensor.group],
                                             task.rule_for(tensor), task.list, tensor, from, to);
                           });
}

// Parts are the same however many threads there are.
void add_squares_of_parts(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  const FlushDenormals mode(task.flush_denormals);
  for (std::int64_t i = begin; i < end; ++i) {
    const Room::Part& part = task.room.parts[i];
    const Tensor& tensor = *part.tensor;
    const RowsAndColumns& of = task.list.factored[tensor.factored];
    if (!of.is_whole())
      std::fill_n(&task.room.of_factors[part.sums],
                  FactorSums::room(part.rows.count, of.columns, is_masked(tensor)), 0.0);
    add_squares(task.table, task.groups[tensor.group], task.rule_for(tensor), task.list, tensor,
                part.begin, part.end, sums_in(task, part));
  }
}

void add_to_first(const Task& task, const Room::Part& part, const Room::Part& first) {
  const RowsAndColumns& of = task.list.factored[part.tensor->factored];
  const FactorSums more = sums_in(task, part), all = sums_in(task, first);
  const auto [row, rows] = part.rows;
  task.table.add(rows, more.rows + row, all.rows + row);
  task.table.add(of.columns, more.columns, all.columns);
  if (!more.row_counts) return;
  task.table.add(rows, more.row_counts + row, all.row_counts + row);
  task.table.add(of.columns, more.column_counts, all.column_counts);
}

template <class T>
void advance_factors_of(const Task& task, const Room::Part& first) {
  const Tensor& tensor = *first.tensor;
  const RowsAndColumns& of = task.list.factored[tensor.factored];
  const Update& group = task.groups[tensor.group];
  advance_factors(of, group.rule->moment[int(tensor.dtype)](&task.rule_for(tensor)),
                  sums_in(task, first), static_cast<T*>(tensor.factors[0]),
                  static_cast<T*>(tensor.factors[1]));
}

void advance_all_factors(const Task& task) {
  const Room::Part* first = nullptr;
  for (const Room::Part& part : task.room.parts) {
    if (task.list.factored[part.tensor->factored].is_whole()) continue;
    if (part.number == 0) first = &part;
    if (part.number > 0) add_to_first(task, part, *first);
    if (part.number + 1 < part.of) continue;
    if (part.tensor->dtype == Dtype::float32)
      advance_factors_of<float>(task, *first);
    else
      advance_factors_of<double>(task, *first);
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

// What arrays have in common is there for each of them; one that was not in all steps is behind.
void share_numbers(const Task& task) {
  if (task.room.of_tensors.empty() && task.list.empty.empty()) return;
  const Tensor* from = task.list.furthest([&](const Tensor& tensor) {
    const Update& group = task.groups[tensor.group];
    return group.in_common() ? group.t() : -1;
  });
  if (!from) return;
  for (const std::vector<Tensor>* some : {&task.list.all, &task.list.empty})
    for (const Tensor& tensor : *some) {
      const Update& group = task.groups[tensor.group];
      if (group.in_common()) group.copy_numbers(*from, tensor);
    }
}

using Sums = std::array<double, RuleVariant::max_sums>;

void add(const Sums& sums, Sums& to) {
  for (std::size_t k = 0; k < to.size(); ++k) to[k] += sums[k];
}

// Over the blocks of a tensor.
Sums sums_over(const Task& task, const Tensor& tensor) {
  Sums sums{};
  const int last = task.groups[tensor.group].rule->sums;
  for (std::int64_t at = 0; at < tensor.size; at += block_size)
    for (int k = 0; k <= last; ++k) sums[k] += task.sums_at(tensor, at)[k];
  return sums;
}

// Tells all rules that have sums their sums: over their array, or over all that have them in
// common.
void adapt_all(const Task& task) {
  Sums of_all{};
  for (const Tensor& tensor : task.list.all)
    if (task.groups[tensor.group].in_common()) add(sums_over(task, tensor), of_all);
  for (const Tensor& tensor : task.list.all) {
    const Update& group = task.groups[tensor.group];
    if (group.rule->sums == 0) continue;
    const Sums sums = group.in_common() ? of_all : sums_over(task, tensor);
    group.adapt(sums.data(), tensor, task.own_rule(tensor));
  }
  for (const Tensor& tensor : task.list.empty) {
    const Update& group = task.groups[tensor.group];
    Folded unused;
    group.fold_for(tensor, unused);
    if (group.rule->sums > 0)
      group.adapt((group.in_common() ? of_all : Sums{}).data(), tensor, unused);
  }
}

}  // namespace

// Each begins at a multiple of 64 bytes, as vectors like it.
void Room::stack_matrices(const Tensors& list, const Update* groups) {
  stacks.clear();
  stacked.clear();
  for (std::size_t i = 0; i < list.all.size(); ++i)
    if (groups[list.all[i].group].rule->has_directions()) stacked.push_back(static_cast<int>(i));
  const auto stack_of = [&](int i) {
    const Tensor& tensor = list.all[i];
    const std::int64_t rows = list.factored[tensor.factored].length;
    return Stack{tensor.group, tensor.dtype, 1, rows, tensor.size / rows, 0};
  };
  const auto key = [](const Stack& s) { return std::tuple(s.group, s.dtype, s.rows, s.columns); };
  std::sort(stacked.begin(), stacked.end(), [&](int a, int b) {
    const auto first = key(stack_of(a)), second = key(stack_of(b));
    return first != second ? first < second : a < b;
  });
  constexpr std::int64_t alignment = 64;
  for (const int i : stacked) {
    Stack stack = stack_of(i);
    if (!stacks.empty() && key(stacks.back()) == key(stack)) {
      ++stacks.back().matrices;
      continue;
    }
    stack.offset = (bytes_of_stacks() + alignment - 1) / alignment * alignment;
    stacks.push_back(stack);
  }
}

void Room::place_stacks(Tensors& list, void* memory) const {
  auto next = stacked.begin();
  for (const Stack& stack : stacks)
    for (std::int64_t k = 0; k < stack.matrices; ++k)
      list.factored[list.all[*next++].factored].direction =
          static_cast<char*>(memory) + stack.offset + stack.bytes() / stack.matrices * k;
}

void Room::make_for(Tensors& list, const Update* groups) {
  stack_matrices(list, groups);
  of_tensors.clear();
  of_blocks.clear();
  parts.clear();
  std::size_t of_all_factors = 0;
  for (const Tensor& tensor : list.all) {
    const Update& group = groups[tensor.group];
    if (Task::has_own_rule(group)) of_tensors.resize(list.all.size());
    if (group.rule->sums > 0) of_blocks.resize(list.extent / block_size * RuleVariant::max_sums);
    if (!group.rule->has_estimate() || goes_by_rows(group, list, tensor)) continue;
    const RowsAndColumns& of = list.factored[tensor.factored];
    const int count = of.parts(tensor.size);
    for (int number = 0; number < count; ++number) {
      const std::int64_t begin = of.edge(number, tensor.size),
                         end = of.edge(number + 1, tensor.size);
      const auto rows = number > 0 ? of.rows_of(begin, end) : RowsAndColumns::Rows{0, of.rows};
      parts.push_back({&tensor, number, count, begin, end, rows, of_all_factors});
      if (of.is_whole()) continue;
      of_all_factors += FactorSums::room(rows.count, of.columns, is_masked(tensor));
    }
    if (of.columns > 0) of_all_factors += of.rows + of.columns;
  }
  of_factors.resize(of_all_factors);
  for (const Part& part : parts) {
    RowsAndColumns& of = list.factored[part.tensor->factored];
    if (part.number + 1 < part.of || of.columns == 0) continue;
    double* behind = &of_factors[part.sums] +
                     FactorSums::room(part.rows.count, of.columns, is_masked(*part.tensor));
    of.inverse_rows = behind;
    of.inverse_columns = behind + of.rows;
  }
}

void launch_directions(const Tensors& list, const Update* groups, bool flush_denormals, int threads,
                       Room& room) {
  const Task task{list, groups, current_table(), flush_denormals, room};
  run_chunks(list.index_space(), update_unit, threads, direct_range, &task);
}

void launch(const Tensors& list, const Update* groups, bool flush_denormals, int threads,
            Room& room) {
  const Task task{list, groups, current_table(), flush_denormals, room};
  share_numbers(task);
  for (const Tensor& tensor : list.all)
    if (!room.of_tensors.empty()) fold_for(task, tensor);
  if (!room.parts.empty()) {
    parallel_for(static_cast<std::int64_t>(room.parts.size()), /*chunk=*/1,
                 threads_that_pay(list.index_space(), threads), add_squares_of_parts, &task);
    advance_all_factors(task);
  }
  if (!room.of_blocks.empty())
    run_chunks(list.index_space(), update_unit, threads, measure_range, &task);
  if (!room.of_blocks.empty() || !list.empty.empty()) adapt_all(task);
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
