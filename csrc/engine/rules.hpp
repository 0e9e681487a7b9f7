// The rules as a table: what is known of them where no template says which one it is.
#pragma once
#include <cstddef>
#include <string_view>

#include "../dtype.hpp"
#include "../rules/option.hpp"
#include "tensors/streams.hpp"

namespace fastopt {

// Some things that lie side by side.
template <class T>
struct View {
  const T* first;
  int count;

  const T* begin() const { return first; }
  const T* end() const { return first + count; }
  const T& operator[](int i) const { return first[i]; }
};

// The arithmetic of a rule for one combination of the optional arrays of its state.
struct RuleVariant {
  static constexpr std::size_t room = 144;  // bytes, for what any rule folds
  static constexpr int max_sums = 4;

  int id;  // in every kernel table

  // Folds options into what the arithmetic of step t needs (t counts from 1), for each dtype.
  // `scalars` are those of the state, and become those after the step. Returns the learning rate in
  // the metric of the rule, which must not depend on them, or just that where it has none.
  double (*fold[dtypes])(const double* options, double t, double* scalars, void* folded);

  // Whether all that is folded is finite and within [-limit, limit], in double.
  bool (*fits)(const double* options, double t, const double* scalars, double limit);

  // How many sums over each array come before the rule is applied to it, and what takes them and,
  // behind them, the number of elements that they are of. It may advance the scalars.
  int sums;
  void (*adapt[dtypes])(const double* sums, const double* options, double* scalars, void* folded);

  // Whether sums are of the parameter as it is before decay.
  bool sums_before_decay;

  // Which of the arrays of the state it only reads, or -1.
  int only_read;

  // Which of the arrays that its loops go through is none of the state, but filled block by block,
  // or -1: the estimate by rows and columns, or what is made of the means of rows, or else
  // what a direction has become.
  int filled;
  bool has_columns;
  bool can_go_by_rows;  // where nothing else is to be done
  const FactoredMoment& (*moment[dtypes])(const void* folded);

  bool has_estimate() const { return moment[0] != nullptr; }
  bool has_directions() const { return filled >= 0 && !has_estimate(); }
};

struct Rule {
  static constexpr int most = 64;  // that there can be
  static constexpr int max_parts = Streams::all - Streams::first_state;
  static constexpr int max_options = 16, max_scalars = Streams::max_numbers;

  const char* name;
  View<Option> options;       // the first is "lr"
  View<const char*> factors;  // none, of rows, or of rows and of columns
  View<StateArray> arrays;
  View<StateScalar> scalars;
  int required;                         // of the arrays: so many come first that a state always has
  int scaled_prox, flatten, per_array;  // which options these are, or -1
  bool matrices;                        // for which it is, unless all optional arrays are there
  const RuleVariant* variants;          // counted in binary by which optional arrays there are

  // Whether the arrays of a step have sums and numbers in common.
  bool in_common(const double* given) const { return per_array >= 0 && given[per_array] == 0; }

  // What a state has besides its count: its factors, its arrays, then its numbers.
  enum class Kind { factor, array, number };
  struct Part {
    const char* name;
    bool optional;
    Kind kind;
  };
  int parts() const { return factors.count + arrays.count + scalars.count; }
  Part part(int i) const {
    if (i < factors.count) return {factors[i], false, Kind::factor};
    i -= factors.count;
    if (i < arrays.count) return {arrays[i].name, arrays[i].optional, Kind::array};
    return {scalars[i - arrays.count].name, false, Kind::number};
  }

  // The arrays of the state for a flat array, which has no rows: the first factor is like it, and
  // what is for matrices needs all.
  int flat_factors() const { return factors.count > 0 ? 1 : 0; }
  int flat_arrays() const { return flat_factors() + arrays.count; }
  int flat_required() const { return flat_factors() + (matrices ? arrays.count : required); }
  StateArray flat_array(int i) const {
    if (i < flat_factors()) return {factors[i]};
    const StateArray& array = arrays[i - flat_factors()];
    return {array.name, array.optional && !matrices};
  }
};

// Tells, part by part of a state, in which stream it goes: optional arrays leave no gap.
class StateStreams {
 public:
  int operator()(const Rule::Part& part) { return next_[int(part.kind)]++; }

 private:
  int next_[3] = {Streams::first_factor, Streams::first_state, Streams::first_number};
};

View<Rule> all_rules();

// The rule of this name, or null.
const Rule* find_rule(std::string_view name);

}  // namespace fastopt
