#include "memory_probe.hpp"

#include "gil.hpp"
#include "parallel.hpp"
#include "platform.hpp"

namespace fastopt {
namespace {

template <class T, class... Written>
void add(std::int64_t n, const T* FASTOPT_RESTRICT grad, Written* FASTOPT_RESTRICT... written) {
  for (std::int64_t i = 0; i < n; ++i) {
    const T g = grad[i];
    ((written[i] += g), ...);
  }
}

template <class T>
void probe(const Streams& streams, std::int64_t begin, std::int64_t end) {
  const auto at = [&](int stream) {
    auto* array = static_cast<T*>(streams.at[stream]);
    return array ? array + begin : nullptr;
  };
  const std::int64_t n = end - begin;
  T *p = at(Streams::param), *g = at(Streams::grad);
  T *a = at(Streams::first_state), *b = at(Streams::first_state + 1),
    *c = at(Streams::first_state + 2);
  if (c) return add(n, g, p, a, b, c);
  if (b) return add(n, g, p, a, b);
  if (a) return add(n, g, p, a);
  add(n, g, p);
}

void probe_range(const void* context, std::int64_t begin, std::int64_t end) {
  const auto& list = *static_cast<const TensorList*>(context);
  list.for_each_piece(begin, end, [](const Tensor& tensor, std::int64_t from, std::int64_t to) {
    (tensor.dtype == Dtype::float32 ? probe<float> : probe<double>)(tensor.streams, from, to);
  });
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
  const auto& list = *static_cast<const TensorList*>(context);
  list.for_each_piece(begin, end, [](const Tensor& tensor, std::int64_t from, std::int64_t to) {
    (tensor.dtype == Dtype::float32 ? copy<float> : copy<double>)(tensor.streams, from, to);
  });
}

void run(const TensorList& list, int threads, RangeBody body) {
  if (list.tensors.empty()) return;
  PyThreadState* released = give_gil_away();
  parallel_for(list.extent, (list.extent + threads - 1) / threads, threads, body, &list);
  take_gil_back(released);
}

}  // namespace

void probe_memory(const TensorList& list, int threads) { run(list, threads, probe_range); }

void probe_copy(const TensorList& list, int threads) { run(list, threads, copy_range); }

}  // namespace fastopt
