#include "norm.hpp"

#include <algorithm>
#include <cmath>

#include "launch.hpp"

namespace fastopt {
namespace {

struct Task {
  const TensorList& list;
  const KernelTable& table;
  double scale;
  double* of_chunks;

  double sum_squares(const Tensor& tensor, std::int64_t from, std::int64_t to) const {
    const SumOfSquares sum = table.sum_of_squares[int(tensor.dtype)];
    const ItemSizes& sizes = item_sizes(tensor.dtype);
    if (tensor.layout < 0) {
      const auto* data = static_cast<const char*>(tensor.streams.at[Streams::param]);
      return sum(data + from * sizes[Streams::param], scale, to - from);
    }
    alignas(64) char buffer[norm_chunk * sizeof(double)];
    gather(list.layouts[tensor.layout], tensor.streams, Streams::param, sizes, from, to, buffer);
    return sum(buffer, scale, to - from);
  }
};

void sum_range(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  task.list.for_each_piece(begin, end,
                           [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
                             for (std::int64_t at = from; at < to; at += norm_chunk)
                               task.of_chunks[(tensor.offset + at) / norm_chunk] =
                                   task.sum_squares(tensor, at, std::min(at + norm_chunk, to));
                           });
}

}  // namespace

void Norms::measure(const TensorList& list, int threads) {
  nonfinite_entry = -1;
  global = std::sqrt(sum_squares(list, threads, 1, of_tensors_));
  per_tensor.resize(of_tensors_.size());
  for (std::size_t i = 0; i < of_tensors_.size(); ++i) per_tensor[i] = std::sqrt(of_tensors_[i]);
  if (std::isfinite(global)) return;

  // Something is not finite, or it is but its square is not. The small scale tells: no finite
  // number has an infinite square there.
  constexpr double small = 0x1p-600;
  global = std::sqrt(sum_squares(list, threads, small, of_small_tensors_)) / small;
  for (std::size_t i = of_tensors_.size(); i-- > 0;) {
    if (!std::isfinite(per_tensor[i])) per_tensor[i] = std::sqrt(of_small_tensors_[i]) / small;
    if (!std::isfinite(of_small_tensors_[i])) nonfinite_entry = list.tensors[i].entry;
  }
}

double Norms::sum_squares(const TensorList& list, int threads, double scale,
                          std::vector<double>& squares) {
  of_chunks_.resize(list.extent / norm_chunk);
  const Task task{list, current_table(), scale, of_chunks_.data()};
  run_chunks(list, norm_chunk, threads, sum_range, &task);
  squares.clear();
  double total = 0;
  for (const Tensor& tensor : list.tensors) {
    double sum = 0;
    for (std::int64_t at = 0; at < tensor.size; at += norm_chunk)
      sum += of_chunks_[(tensor.offset + at) / norm_chunk];
    squares.push_back(sum);
    total += sum;
  }
  return total;
}

}  // namespace fastopt
