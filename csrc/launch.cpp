#include "launch.hpp"

#include <algorithm>

#include "isa/denormals.hpp"

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

// Below this many elements, giving the GIL away and taking it back costs more than the work.
constexpr std::int64_t release_threshold = 4096;

struct Task {
  const TensorList& list;
  const Launch& step;
  const KernelTable& table;

  // Updates the elements [begin, end) of one tensor.
  void update(const Tensor& tensor, std::int64_t begin, std::int64_t end) const {
    const Kernel kernel = table.find(step.rule, tensor.dtype, step.terms);
    const void* scalars = step.scalars[int(tensor.dtype)];
    const ItemSizes& sizes = item_sizes(tensor.dtype);
    const double factor =
        step.tensor_factors ? step.tensor_factors[&tensor - list.tensors.data()] : 1;
    const double grad_scale = step.grad_scale * factor;
    if (tensor.layout >= 0) {
      for (; begin < end; begin += Tile::size) {
        const std::int64_t count = std::min(Tile::size, end - begin);
        const Tile tile(list.layouts[tensor.layout], tensor.streams, sizes, begin, count);
        kernel(scalars, grad_scale, tile.streams, count);
        tile.write_back(step.written);
      }
      return;
    }
    Streams at = tensor.streams;
    for (int s = 0; s < Streams::count; ++s)
      if (at.at[s]) at.at[s] = static_cast<char*>(at.at[s]) + begin * sizes[s];
    kernel(scalars, grad_scale, at, end - begin);
  }
};

void run_range(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  const FlushDenormals mode(task.step.flush_denormals);
  task.list.for_each_piece(begin, end,
                           [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
                             task.update(tensor, from, to);
                           });
}

}  // namespace

void launch(const TensorList& list, const Launch& step, int threads) {
  const Task task{list, step, current_table()};
  run_chunks(list, update_unit, threads, run_range, &task);
}

void run_chunks(const TensorList& list, std::int64_t unit, int threads, RangeBody body,
                const void* context) {
  if (list.elements < parallel_threshold ||
      (list.elements < wake_threshold && !workers_are_awake()))
    threads = 1;
  // No object that takes the GIL back when it dies: where the interpreter has ended meanwhile,
  // taking it ends the thread, which a destructor must not.
  PyThreadState* released = list.elements < release_threshold ? nullptr : PyEval_SaveThread();
  parallel_for(list.extent, chunk_size(list.extent, unit, threads), threads, body, context);
  if (released) PyEval_RestoreThread(released);
}

}  // namespace fastopt
