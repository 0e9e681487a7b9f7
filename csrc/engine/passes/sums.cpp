#include "sums.hpp"

#include <algorithm>

namespace fastopt {
namespace {

struct Task {
  const Tensors& list;
  const KernelTable& table;
  std::initializer_list<TensorSums::Sum> sums;
  double scale;
  std::vector<double>* of_chunks;

  // Sums the elements [from, to) of one tensor, at most one chunk.
  void sum(const Tensor& tensor, std::int64_t from, std::int64_t to) const {
    const char* data =
        static_cast<const char*>(tensor.streams.at[Streams::param]) + from * size_of(tensor.dtype);
    alignas(64) char buffer[sum_chunk * sizeof(double)];
    if (tensor.layout >= 0) {
      gather(list.layouts[tensor.layout], tensor.streams, Streams::param, tensor.dtype, from, to,
             buffer);
      data = buffer;
    }
    int number = 0;
    for (TensorSums::Sum each : sums)
      of_chunks[number++][(tensor.offset + from) / sum_chunk] =
          (table.sums(tensor.dtype).*each)(data, scale, to - from);
  }
};

void sum_range(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  task.list.for_each_piece(begin, end,
                           [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
                             for (std::int64_t at = from; at < to; at += sum_chunk)
                               task.sum(tensor, at, std::min(at + sum_chunk, to));
                           });
}

}  // namespace

void TensorSums::measure(const Tensors& list, int threads, std::initializer_list<Sum> sums,
                         double scale) {
  for (std::size_t number = 0; number < sums.size(); ++number)
    of_chunks_[number].resize(list.extent / sum_chunk);
  const Task task{list, current_table(), sums, scale, of_chunks_};
  run_chunks(list.index_space(), sum_chunk, threads, sum_range, &task);
  for (std::size_t number = 0; number < sums.size(); ++number) {
    of_tensors_[number].clear();
    for (const Tensor& tensor : list.all) {
      double sum = 0;
      for (std::int64_t at = 0; at < tensor.size; at += sum_chunk)
        sum += of_chunks_[number][(tensor.offset + at) / sum_chunk];
      of_tensors_[number].push_back(sum);
    }
  }
}

}  // namespace fastopt
