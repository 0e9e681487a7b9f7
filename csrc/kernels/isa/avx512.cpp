// The kernels for x86 processors with AVX512. The headers come first: what they define must not be
// compiled for AVX512, or the linker may choose that copy for every caller.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "../prefetch.hpp"
#include "../table.hpp"

#if FASTOPT_X86

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl")
#endif

namespace fastopt {
namespace avx512 {
namespace {
#include "../philox.inl"
#include "../reduce.inl"
#include "../term_loops.inl"
// After term_loops.inl, whose names it uses (and this line keeps formatters from sorting them).
#include "../rule_loop.inl"
}  // namespace
}  // namespace avx512

extern constexpr KernelTable avx512_table = avx512::make_table("avx512", Rules{});

}  // namespace fastopt

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
