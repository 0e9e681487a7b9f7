// The kernel tables, one for each instruction set, and the choice among them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "../block.hpp"
#include "../dtype.hpp"
#include "../platform.hpp"
#include "../rules/list.hpp"
#include "dropout_stream.hpp"

namespace fastopt {

// The loops of one rule and dtype over n elements. `rule` points to the rule with its scalars.
struct RuleLoops {
  void (*update)(const void* rule, std::int64_t n, void* param, const void* grad,
                 void* const* states);

  // Proximal L1 in the metric of the rule; null where the rule has none.
  void (*shrink)(const void* rule, std::int64_t n, double threshold, void* param,
                 void* const* states);

  // The sums over a block that the rule wants before it is applied to an array: over what takes
  // part, or where that is null over all. Null where it wants none.
  void (*measure)(const void* rule, std::int64_t n, const void* param, const void* grad,
                  void* const* states, const std::uint8_t* takes_part, double* sums);

  // Fills the last of the arrays with the direction, and changes nothing else. Null where the rule
  // has none.
  void (*direct)(const void* rule, std::int64_t n, const void* grad, void* const* states);

  // Makes of the means of rows what the rule finds in their place. Null where it has none, or
  // columns, too.
  void (*of_rows)(const void* rule, std::int64_t n, const void* rows, void* to);

  // The same as `update`, of rows that lie one behind the other, from what `of_rows` made of each.
  // Null where the rule has sums, or arrays of a state, too.
  void (*update_rows)(const void* rule, std::int64_t rows, std::int64_t size, void* param,
                      const void* grad, const void* of_rows);
};

// Sums over n elements, each first multiplied by `scale`, in double, in an order of their own that
// is the same everywhere; see reduce.inl.
struct Sums {
  double (*plain)(const void* x, double scale, std::int64_t n);
  double (*squares)(const void* x, double scale, std::int64_t n);
  double (*magnitudes)(const void* x, double scale, std::int64_t n);
  double (*zeros)(const void* x, double scale, std::int64_t n);      // their number
  double (*above_one)(const void* x, double scale, std::int64_t n);  // of those with |x| > 1
};

// What the penalties of one tensor come to in a step, and the scale that goes with them.
template <class T>
struct PenaltyScalars {
  T grad_scale, l2, l1, decay;
};

// The loops of the terms over n elements; see term_loops.inl.
template <class T>
struct Loops {
  void (*scale)(std::int64_t n, T factor, const T* g, T* to);
  void (*clip)(std::int64_t n, T limit, T* g);
  void (*drop)(std::int64_t n, T keep_scale, const std::uint8_t* keep, const T* x, T* to);
  // Counted in binary: with L2 (4), with L1 (2), with decay (1).
  void (*penalize[8])(std::int64_t n, const PenaltyScalars<T>& scalars, T* p, const T* g, T* to);
  void (*decay)(std::int64_t n, T rate, T* p);
  void (*shrink)(std::int64_t n, T threshold, T* p);
  void (*cut_negative)(std::int64_t n, T* p);
  void (*average_from_ema)(std::int64_t n, T one_minus_decay, const T* p, T* ema);
  void (*average_from_param)(std::int64_t n, T decay, const T* p, T* ema);
  void (*average_is_param)(std::int64_t n, const T* p, T* ema);
  void (*restore)(std::int64_t n, const std::uint8_t* changes, const T* old, T* x);
  void (*square)(std::int64_t n, const T* g, double* to);
  // Sums of squares in one order, element i of a row in lane i % lanes: of whole rows; and into the
  // lanes of a row that has `place` elements so far, where the last adds each to `to`, besides.
  void (*squares_of_rows)(std::int64_t rows, std::int64_t size, const T* g, double* sums);
  void (*sum_squares)(std::int64_t n, const T* g, std::int64_t place, double* in_lanes);
  void (*add_squares)(std::int64_t n, const T* g, std::int64_t place, double* in_lanes, double* to);
  void (*multiply)(std::int64_t n, T factor, T most, const T* x, T* to);
  void (*inverse_root)(std::int64_t n, T most, const T* x, T* to);
  Sums sums;
};

struct KernelTable {
  const char* name;
  RuleLoops rules[Rules::size][dtypes];
  Loops<float> float32;
  Loops<double> float64;
  // One byte for each bit, 0 where it is 0. `keep` has room for eight times `bytes`.
  void (*unpack_bits)(const std::uint8_t* bits, std::int64_t bytes, std::uint8_t* keep);
  void (*add)(std::int64_t n, const double* x, double* to);
  void (*philox_keep)(const DropoutStream& stream, std::int64_t block, std::uint8_t* keep);

  const Loops<float>& loops(float) const { return float32; }
  const Loops<double>& loops(double) const { return float64; }
  const Sums& sums(Dtype dtype) const {
    return dtype == Dtype::float32 ? float32.sums : float64.sums;
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
