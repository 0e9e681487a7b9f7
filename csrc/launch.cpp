#include "launch.hpp"

#include <algorithm>

namespace fastopt {
namespace {

// Elements that a thread claims at a time. Few enough that threads finish together, so many that
// the claim and the jump to another place in memory cost nothing.
constexpr std::int64_t chunk = 16384;

// Below this many elements a second thread does not pay: waking it takes longer than the work.
constexpr std::int64_t parallel_threshold = 2 * chunk;

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

void update_range(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  task.list.for_each_piece(begin, end,
                           [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
                             task.update(tensor, from, to);
                           });
}

}  // namespace

void launch(const TensorList& list, const Launch& step, int threads) {
  const Task task{list, step, current_table()};
  run_chunks(list, threads, update_range, &task);
}

void run_chunks(const TensorList& list, int threads, RangeBody body, const void* context) {
  if (list.elements < parallel_threshold) threads = 1;
  PyThreadState* released = list.elements < release_threshold ? nullptr : PyEval_SaveThread();
  parallel_for(list.extent, chunk, threads, body, context);
  if (released) PyEval_RestoreThread(released);
}

}  // namespace fastopt
