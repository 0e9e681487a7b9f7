// A processor mode in which numbers too small for full precision count as zero. Arithmetic with
// them takes some twenty times as long on x86.
#pragma once
#include <cstdint>

#include "../platform.hpp"

#if FASTOPT_X86
#include <xmmintrin.h>
#endif

namespace fastopt {

// The mode of the calling thread, for as long as this object lives.
class FlushDenormals {
 public:
  explicit FlushDenormals(bool wanted) : wanted_(wanted), before_(wanted ? read() : 0) {
    if (wanted_) write(before_ | flush);
  }
  ~FlushDenormals() {
    if (wanted_) write(before_);
  }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if FASTOPT_X86
  static constexpr std::uint64_t flush = 0x8040;  // MXCSR: results to zero, operands as zero
  static std::uint64_t read() { return _mm_getcsr(); }
  static void write(std::uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__) && defined(__GNUC__)
  static constexpr std::uint64_t flush = 1u << 24;  // FPCR.FZ
  static std::uint64_t read() {
    std::uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void write(std::uint64_t mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
#else
  static constexpr std::uint64_t flush = 0;
  static std::uint64_t read() { return 0; }
  static void write(std::uint64_t) {}
#endif

  bool wanted_;
  std::uint64_t before_;
};

}  // namespace fastopt
