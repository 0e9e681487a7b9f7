// What differs between compilers, and nothing else.
#pragma once
#include <cfloat>

#ifdef __FAST_MATH__
#error "fastopt promises the bits of the formula: build it without -ffast-math"
#endif
static_assert(FLT_EVAL_METHOD == 0, "arithmetic must happen in the type of its operands");

#if defined(_MSC_VER) && !defined(__clang__)
#define FASTOPT_INLINE __forceinline
#define FASTOPT_NOINLINE __declspec(noinline)
#define FASTOPT_RESTRICT __restrict
#define FASTOPT_PREFETCH(address) ((void)0)
#define FASTOPT_UNROLL(count)
#define FASTOPT_INDEPENDENT __pragma(loop(ivdep))
#else
// always_inline is no hint here: code that is inlined everywhere leaves no symbol behind that the
// linker could merge between a file built for AVX-512 and one that must run on any machine.
#define FASTOPT_INLINE inline __attribute__((always_inline))
#define FASTOPT_NOINLINE __attribute__((noinline))
#define FASTOPT_RESTRICT __restrict__
#define FASTOPT_PREFETCH(address) __builtin_prefetch(address)
#if defined(__clang__)
#define FASTOPT_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define FASTOPT_INDEPENDENT _Pragma("GCC ivdep")
#endif
#define FASTOPT_UNROLL(count) FASTOPT_PRAGMA(GCC unroll count)
#define FASTOPT_PRAGMA(text) _Pragma(#text)
#endif

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define FASTOPT_X86 1
#else
#define FASTOPT_X86 0
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define FASTOPT_BIG_ENDIAN 1
#else
#define FASTOPT_BIG_ENDIAN 0
#endif
