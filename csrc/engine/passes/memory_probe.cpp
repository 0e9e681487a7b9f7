#include "memory_probe.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "../../kernels/prefetch.hpp"
#include "../../platform.hpp"
#include "../parallel.hpp"

namespace fastopt {
namespace {

template <class T, class... Written>
void add(std::int64_t n, const T* FASTOPT_RESTRICT grad, Written* FASTOPT_RESTRICT... written) {
  for (std::int64_t i = 0; i < n; ++i) {
    const T g = grad[i];
    ((written[i] += g), ...);
  }
}

// Adds the gradient to the parameter and to as many states as there are.
template <class T, class... State>
void probe(const Streams& streams, std::int64_t begin, std::int64_t n, State*... states) {
  const auto at = [&](int stream) { return static_cast<T*>(streams.at[stream]); };
  constexpr int known = sizeof...(State);
  if constexpr (known < Streams::max_states)
    if (T* next = at(Streams::first_state + known))
      return probe<T>(streams, begin, n, states..., next + begin);
  add(n, at(Streams::grad) + begin, at(Streams::param) + begin, states...);
}

void probe_range(const void* context, std::int64_t begin, std::int64_t end) {
  const auto& list = *static_cast<const Tensors*>(context);
  list.for_each_piece(begin, end, [](const Tensor& tensor, std::int64_t from, std::int64_t to) {
    const auto work = tensor.dtype == Dtype::float32 ? probe<float> : probe<double>;
    work(tensor.streams, from, to - from);
  });
}

// What was read last is kept, so that no compiler leaves it out.
std::atomic<std::uint64_t> kept{0};

std::uint64_t read_block(const float* data, std::int64_t n) {
  constexpr std::int64_t ahead = 16 * block_size;
  prefetch_block(data, ahead);
  const std::int64_t words = n * std::int64_t(sizeof(float)) / 8;
  std::uint64_t all = 0;
  for (std::int64_t i = 0; i < words; ++i) {
    std::uint64_t word;
    std::memcpy(&word, reinterpret_cast<const char*>(data) + i * 8, 8);
    all ^= word;
  }
  return all;
}

void read_range(const void* context, std::int64_t begin, std::int64_t end) {
  const auto& list = *static_cast<const Tensors*>(context);
  std::uint64_t all = 0;
  list.for_each_piece(begin, end, [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
    const std::int64_t floats = size_of(tensor.dtype) / std::int64_t(sizeof(float));
    for (std::int64_t at = from * floats; at < to * floats; at += block_size)
      for (void* array : tensor.streams.at)
        if (array)
          all ^= read_block(static_cast<const float*>(array) + at,
                            std::min(block_size, to * floats - at));
  });
  kept.store(all, std::memory_order_relaxed);
}

template <class T>
void add_one(std::int64_t n, const T* FASTOPT_RESTRICT from, T* FASTOPT_RESTRICT to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = from[i] + 1;
}

template <class T>
void copy(const Streams& streams, std::int64_t begin, std::int64_t end) {
  add_one(end - begin, static_cast<const T*>(streams.at[Streams::grad]) + begin,
          static_cast<T*>(streams.at[Streams::param]) + begin);
}

void copy_range(const void* context, std::int64_t begin, std::int64_t end) {
  const auto& list = *static_cast<const Tensors*>(context);
  list.for_each_piece(begin, end, [](const Tensor& tensor, std::int64_t from, std::int64_t to) {
    (tensor.dtype == Dtype::float32 ? copy<float> : copy<double>)(tensor.streams, from, to);
  });
}

void run(const Tensors& list, int threads, RangeBody body) {
  if (list.all.empty()) return;
  parallel_for(list.extent, (list.extent + threads - 1) / threads, threads, body, &list);
}

}  // namespace

void probe_memory(const Tensors& list, int threads) { run(list, threads, probe_range); }

void probe_reading(const Tensors& list, int threads) { run(list, threads, read_range); }

void probe_copy(const Tensors& list, int threads) { run(list, threads, copy_range); }

}  // namespace fastopt
