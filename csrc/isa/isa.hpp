// The kernel tables, one for each instruction set, and the choice among them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "../grad_terms.hpp"
#include "../rules/rules.hpp"

namespace fastopt {

// The arrays of one update, in the order in which kernels take them. What a call does not have is
// null; what a rule has no use for is not there.
struct Streams {
  static constexpr int param = 0, grad = 1, mask = 2, first_state = 3, max_states = 3;
  static constexpr int count = first_state + max_states;
  void* at[count];
};

// The scalars of one step, rounded to the compute type T.
template <template <class> class Rule, class T>
struct StepScalars {
  Rule<T> rule;
  GradTerms<T> terms;
  bool zero_grads;
};

// Updates n contiguous elements. `scalars` points to StepScalars of the kernel's rule and type.
using Kernel = void (*)(const void* scalars, const Streams& streams, std::int64_t n);

// How much of GradTerms a kernel knows; the plain rule is worth a loop of its own.
enum class Terms { none, unmasked, masked, count };
enum class Dtype { float32, float64, count };

struct KernelTable {
  const char* name;
  Kernel kernels[Rules::size][int(Dtype::count)][int(Terms::count)];

  Kernel find(int rule, Dtype dtype, Terms terms) const {
    return kernels[rule][int(dtype)][int(terms)];
  }
};

extern const KernelTable baseline_table;
#if FASTOPT_X86
extern const KernelTable avx2_table;
extern const KernelTable avx512_table;
#endif

// Tables that this machine (processor and operating system) can run, best first.
std::vector<const KernelTable*> available_tables();

// The table that steps use. Set at import from FASTOPT_ISA, else the best one.
const KernelTable& current_table();

// Throws std::invalid_argument with the possible names where `name` is not one of them.
void select_table(const std::string& name);

}  // namespace fastopt
