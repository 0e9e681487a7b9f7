// What there is besides steps.
#include <string>

#include "../engine/passes/dropout.hpp"
#include "../engine/passes/norm.hpp"
#include "checks.hpp"
#include "functions.hpp"
#include "refusal.hpp"

namespace fastopt::c {
namespace {

Tensor contiguous(Dtype dtype, std::int64_t n, void* param, const void* grad) {
  Tensor tensor{};
  tensor.streams.at[Streams::param] = param;
  tensor.streams.at[Streams::grad] = const_cast<void*>(grad);
  tensor.size = n;
  tensor.dtype = dtype;
  tensor.layout = -1;
  return tensor;
}

// 0 stands for the default.
int threads_of(const char* function, int threads) {
  if (threads == 0) return fastopt::get_num_threads();
  check_threads(function, threads);
  return threads;
}

}  // namespace

int global_norm(int dtype, int64_t arrays, const int64_t* sizes, const void* const* data,
                int threads, double* norm) noexcept {
  static constexpr const char* function = "global_norm";
  return guarded([&] {
    static thread_local Tensors list;
    static thread_local Norms norms;
    const Dtype checked = checked_dtype(function, dtype);
    const int count = threads_of(function, threads);
    if (arrays < 0)
      throw Refusal{std::string(function) + ": arrays must be >= 0, it is " +
                    std::to_string(arrays)};
    list.clear();
    for (std::int64_t i = 0; i < arrays; ++i) {
      check_size(function, sizes[i]);
      if (sizes[i] == 0) continue;
      if (!data[i])
        throw Refusal{std::string(function) + ": arrays[" + std::to_string(i) + "] is NULL"};
      list.add(contiguous(checked, sizes[i], const_cast<void*>(data[i]), nullptr), sum_chunk);
    }
    norms.measure(list, count);
    *norm = norms.global.times(1);
    return FASTOPT_OK;
  });
}

int dropout(int dtype, int64_t n, const void* x, void* out, double p, uint64_t seed,
            uint64_t offset, int threads) noexcept {
  static constexpr const char* function = "dropout";
  return guarded([&] {
    static thread_local Tensors list;
    const Dtype checked = checked_dtype(function, dtype);
    check_size(function, n);
    check_drop(function, p);
    const int count = threads_of(function, threads);
    Memory memory(function);
    memory.add("x", x, n * size_of(checked), size_of(checked), false);
    if (out != x) memory.add("out", out, n * size_of(checked), size_of(checked), true);
    memory.check_apart();
    list.clear();
    if (n > 0) list.add(contiguous(checked, n, out, out == x ? nullptr : x));
    drop_elements(list, {p, seed, offset}, count);
    return FASTOPT_OK;
  });
}

int dropout_mask(int64_t n, double p, uint64_t seed, uint64_t offset, int packed, uint8_t* mask,
                 int threads) noexcept {
  static constexpr const char* function = "dropout_mask";
  return guarded([&] {
    check_size(function, n);
    check_drop(function, p);
    const int count = threads_of(function, threads);
    if (n > 0 && !mask) throw Refusal{std::string(function) + ": mask is NULL"};
    write_mask({p, seed, offset}, n, packed != 0, mask, count);
    return FASTOPT_OK;
  });
}

int set_num_threads(int threads) noexcept {
  return guarded([&] {
    check_threads("set_num_threads", threads);
    fastopt::set_num_threads(threads);
    return FASTOPT_OK;
  });
}

int get_num_threads() noexcept { return fastopt::get_num_threads(); }

const char* isa() noexcept { return current_table().name; }

}  // namespace fastopt::c
