#include "launch.hpp"

#include <algorithm>

#include "parallel.hpp"

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
    if (tensor.layout >= 0) {
      update_strided(kernel, scalars, tensor.streams, list.layouts[tensor.layout], sizes,
                     step.written, begin, end);
      return;
    }
    Streams at = tensor.streams;
    for (int s = 0; s < Streams::count; ++s)
      if (at.at[s]) at.at[s] = static_cast<char*>(at.at[s]) + begin * sizes[s];
    kernel(scalars, at, end - begin);
  }
};

// Updates what lies in [begin, end) of the index space that all tensors share.
void update_range(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  const auto& tensors = task.list.tensors;
  auto tensor = std::upper_bound(tensors.begin(), tensors.end(), begin,
                                 [](std::int64_t at, const Tensor& t) { return at < t.offset; });
  for (--tensor; tensor != tensors.end() && tensor->offset < end; ++tensor) {
    const std::int64_t from = std::max<std::int64_t>(begin - tensor->offset, 0);
    const std::int64_t to = std::min(end - tensor->offset, tensor->size);
    if (from < to) task.update(*tensor, from, to);
  }
}

}  // namespace

void launch(const TensorList& list, const Launch& step, int threads) {
  if (list.tensors.empty()) return;
  const Task task{list, step, current_table()};
  if (list.elements < parallel_threshold) threads = 1;
  PyThreadState* released = list.elements < release_threshold ? nullptr : PyEval_SaveThread();
  parallel_for(list.extent, chunk, threads, update_range, &task);
  if (released) PyEval_RestoreThread(released);
}

}  // namespace fastopt
