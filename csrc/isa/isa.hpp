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
  static constexpr int param = 0, grad = 1, mask = 2, ema = 3, first_state = 4, max_states = 3;
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

// Updates n contiguous elements. `scalars` points to StepScalars of the kernel's rule and type;
// grad_scale is apart from them, because it may differ between the tensors of a step.
using Kernel = void (*)(const void* scalars, double grad_scale, const Streams& streams,
                        std::int64_t n);

// The sum of the squares of scale * x over n contiguous elements, in double, in an order of its own
// that is the same everywhere; see reduce.inl.
using SumOfSquares = double (*)(const void* x, double scale, std::int64_t n);

// What a kernel does beside the rule: nothing; the linear terms (scale, L2, decay), without or with
// the moving average; or all terms. Comparing and selecting takes time that memory does not hide,
// so frequent recipes have loops without it; the rest share one.
enum class Terms { none, linear, linear_averaged, all, count };

enum class Dtype { float32, float64, count };

struct KernelTable {
  const char* name;
  Kernel kernels[Rules::size][int(Dtype::count)][int(Terms::count)];

  SumOfSquares sum_of_squares[int(Dtype::count)];

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
