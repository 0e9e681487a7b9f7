#include <atomic>
#include <stdexcept>

#include "table.hpp"

#if FASTOPT_X86
#include <cpuid.h>
#endif

namespace fastopt {

#if FASTOPT_X86
namespace {

// What __builtin_cpu_supports knows, but that needs a part of the compiler's run-time library that
// is not there everywhere: not for clang where it works with the linker and libraries of another.
struct Processor {
  bool avx2 = false, avx512 = false;

  Processor() {
    constexpr unsigned has_xgetbv = 1u << 27, has_avx = 1u << 28;
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & has_xgetbv) || !(ecx & has_avx)) return;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return;
    constexpr unsigned f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    avx2 = system_keeps(ymm) && has(ebx, 1u << 5);
    avx512 = system_keeps(ymm | zmm) && has(ebx, f | dq | bw | vl);
  }

 private:
  // Registers that the operating system keeps for a thread while others run. Darwin keeps those of
  // AVX-512 from their first use on, and does not promise it before.
  static constexpr unsigned ymm = 0x6;
#if defined(__APPLE__)
  static constexpr unsigned zmm = 0;
#else
  static constexpr unsigned zmm = 0xe0;
#endif

  static bool has(unsigned given, unsigned wanted) { return (given & wanted) == wanted; }

  static bool system_keeps(unsigned registers) {
    unsigned eax, edx;
    asm("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return has(eax, registers);
  }
};

}  // namespace
#endif

std::vector<const KernelTable*> available_tables() {
  std::vector<const KernelTable*> tables;
#if FASTOPT_X86
  const Processor processor;
  if (processor.avx512) tables.push_back(&avx512_table);
  if (processor.avx2) tables.push_back(&avx2_table);
#endif
  tables.push_back(&baseline_table);
  return tables;
}

static std::atomic<const KernelTable*> current{&baseline_table};

const KernelTable& current_table() { return *current.load(std::memory_order_relaxed); }

void select_table(const std::string& name) {
  std::string known;
  for (const KernelTable* table : available_tables()) {
    if (name == table->name) {
      current.store(table, std::memory_order_relaxed);
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(table->name);
  }
  throw std::invalid_argument("instruction set '" + name + "' is not available here; there are " +
                              known);
}

}  // namespace fastopt
