#include "sums.hpp"

#include <algorithm>

#include "../tensors/masks.hpp"

namespace fastopt {
namespace {

struct Task {
  const Tensors& list;
  const KernelTable& table;
  std::initializer_list<TensorSums::Sum> sums;
  const DropoutStream* drop;
  const double* scales;
  std::vector<double>* of_chunks;

  double scale_of(const Tensor& tensor) const {
    return scales ? scales[&tensor - &list.all[0]] : 1;
  }

  // Sums the elements [from, to) of one tensor, at most one chunk.
  void sum(const Tensor& tensor, std::int64_t from, std::int64_t to) const {
    if (tensor.layout < 0 && !leaves_out(tensor))
      add(tensor, from, to, tensor.at(from).at[Streams::param]);
    else
      sum_kept(tensor, from, to);
  }

 private:
  bool leaves_out(const Tensor& tensor) const {
    return drop || tensor.streams.at[Streams::mask] || tensor.streams.at[Streams::update_mask];
  }

  void sum_kept(const Tensor& tensor, std::int64_t from, std::int64_t to) const {
    alignas(64) char buffer[sum_chunk * sizeof(double)];
    const void* data = read(tensor, Streams::param, from, to, buffer);
    data = tensor.dtype == Dtype::float32
               ? without_what_is_masked<float>(tensor, data, from, to, buffer)
               : without_what_is_masked<double>(tensor, data, from, to, buffer);
    add(tensor, from, to, data);
  }

  void add(const Tensor& tensor, std::int64_t from, std::int64_t to, const void* data) const {
    int number = 0;
    for (TensorSums::Sum each : sums)
      of_chunks[number++][(tensor.offset + from) / sum_chunk] =
          (table.sums(tensor.dtype).*each)(data, scale_of(tensor), to - from);
  }

  // Where these elements of a stream are: where they lie, or gathered in the buffer.
  const void* read(const Tensor& tensor, int stream, std::int64_t from, std::int64_t to,
                   void* buffer) const {
    if (tensor.layout < 0) return tensor.at(from).at[stream];
    gather(list.layouts[tensor.layout], tensor.streams, stream, tensor.dtype, from, to, buffer);
    return buffer;
  }

  template <class T>
  const void* without_what_is_masked(const Tensor& tensor, const void* data, std::int64_t from,
                                     std::int64_t to, void* buffer) const {
    std::uint8_t keep[sum_chunk];
    for (int stream : {Streams::mask, Streams::update_mask}) {
      if (tensor.streams.at[stream])
        read_mask(tensor, stream, from, to, keep);
      else if (stream == Streams::mask && drop)
        for (std::int64_t at = from; at < to; at += block_size)
          table.philox_keep(drop->of_entry(tensor.entry), at / block_size, keep + (at - from));
      else
        continue;
      table.loops(T()).drop(to - from, T(1), keep, static_cast<const T*>(data),
                            static_cast<T*>(buffer));
      data = buffer;
    }
    return data;
  }

  void read_mask(const Tensor& tensor, int stream, std::int64_t from, std::int64_t to,
                 std::uint8_t* keep) const {
    const auto* mask = static_cast<const std::uint8_t*>(read(tensor, stream, from, to, keep));
    if (tensor.packed >> stream & 1)
      table.unpack_bits(mask, packed_size(to - from), keep);
    else if (mask != keep)
      std::copy_n(mask, to - from, keep);
  }
};

void sum_range(const void* context, std::int64_t begin, std::int64_t end) {
  const Task& task = *static_cast<const Task*>(context);
  task.list.for_each_piece(begin, end,
                           [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
                             if (task.scale_of(tensor) == 0) return;
                             for (std::int64_t at = from; at < to; at += sum_chunk)
                               task.sum(tensor, at, std::min(at + sum_chunk, to));
                           });
}

}  // namespace

void TensorSums::measure(const Tensors& list, int threads, std::initializer_list<Sum> sums,
                         const DropoutStream* drop) {
  run(list, threads, sums, drop, nullptr);
}

void TensorSums::measure_again(const Tensors& list, int threads, std::initializer_list<Sum> sums,
                               const DropoutStream* drop, const std::vector<double>& scales) {
  run(list, threads, sums, drop, scales.data());
}

void TensorSums::run(const Tensors& list, int threads, std::initializer_list<Sum> sums,
                     const DropoutStream* drop, const double* scales) {
  for (std::size_t number = 0; number < sums.size(); ++number) {
    of_chunks_[number].resize(list.extent / sum_chunk);
    of_tensors_[number].resize(list.all.size());
  }
  const Task task{list, current_table(), sums, drop, scales, of_chunks_};
  run_chunks(list.index_space(), sum_chunk, threads, sum_range, &task);
  for (std::size_t number = 0; number < sums.size(); ++number)
    for (const Tensor& tensor : list.all) {
      if (task.scale_of(tensor) == 0) continue;
      double& sum = of_tensors_[number][&tensor - &list.all[0]] = 0;
      for (std::int64_t at = 0; at < tensor.size; at += sum_chunk)
        sum += of_chunks_[number][(tensor.offset + at) / sum_chunk];
    }
}

}  // namespace fastopt
