// The kernels for x86 processors with AVX2. The headers come first: what they define must not be
// compiled for AVX2, or the linker may choose that copy for every caller.
#include <cstdint>
#include <utility>

#include "../storage.hpp"
#include "isa.hpp"

#if FASTOPT_X86

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

namespace fastopt {
namespace {
#include "../reduce.inl"
#include "../update_loop.inl"
}  // namespace

extern constexpr KernelTable avx2_table = make_table("avx2", Rules{});

}  // namespace fastopt

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
