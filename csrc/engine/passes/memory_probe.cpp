#include "memory_probe.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

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

void read_range(const void* context, std::int64_t begin, std::int64_t end) {
  const auto& list = *static_cast<const Tensors*>(context);
  std::uint64_t all = 0;
  list.for_each_piece(begin, end, [&](const Tensor& tensor, std::int64_t from, std::int64_t to) {
    for (; from < to; from += block_size) {
      const std::int64_t words = std::min(block_size, to - from) * size_of(tensor.dtype) / 8;
      for (int stream = 0; stream < Streams::count; ++stream) {
        if (!tensor.streams.at[stream]) continue;
        const auto* data = static_cast<const char*>(tensor.streams.at[stream]) +
                           from * std::int64_t(size_of(tensor.dtype));
        for (std::int64_t i = 0; i < words; ++i) {
          std::uint64_t word;
          std::memcpy(&word, data + i * 8, 8);
          all ^= word;
        }
      }
    }
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

void probe_memory(const Tensors& list, int threads, bool read_first) {
  if (read_first) run(list, threads, read_range);
  run(list, threads, probe_range);
}

void probe_copy(const Tensors& list, int threads) { run(list, threads, copy_range); }

}  // namespace fastopt
