#include <atomic>
#include <stdexcept>

#include "table.hpp"

namespace fastopt {

std::vector<const KernelTable*> available_tables() {
  std::vector<const KernelTable*> tables;
#if FASTOPT_X86
  __builtin_cpu_init();  // these ask the operating system too
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    tables.push_back(&avx512_table);
  if (__builtin_cpu_supports("avx2")) tables.push_back(&avx2_table);
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
