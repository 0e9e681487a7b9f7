// What the functions for C check alike. Messages are those of Python's steps.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "../engine/rules.hpp"
#include "../engine/steps/fitting.hpp"
#include "../engine/steps/overlap.hpp"

namespace fastopt::c {

// The rule of this number; throws a Refusal where there is none.
const Rule& checked_rule(const char* function, int rule);
Dtype checked_dtype(const std::string& function, int dtype);

void check_range(const std::string& function, const Option& option, double value);
void check_count(const std::string& function, const std::string& name, std::int64_t count);
void check_threads(const std::string& function, double threads);
void check_size(const std::string& function, std::int64_t n);  // so that its bytes can be counted
void check_drop(const std::string& function, double p);

// The variant of a rule for a state with these arrays, of which those that a state may leave out
// may be null; the others are taken to be there.
const RuleVariant* variant_of(const Rule& rule, void* const* state);

// Throws where an option that is not 0 needs an array that the state has not.
void check_needs(const std::string& function, const Rule& rule, const double* options,
                 void* const* state);

// Throws where a number does not fit the dtype.
void check_fits(const std::string& function, const FoldedNumbers& numbers, Dtype dtype,
                const std::string& params);

// The memory of arrays, which must be there, aligned, and apart from each other.
class Memory {
 public:
  explicit Memory(std::string function) : function_(std::move(function)) {}

  void add(const std::string& name, const void* data, std::int64_t bytes, std::int64_t alignment,
           bool written);
  void check_apart();

 private:
  std::string function_;
  std::vector<std::string> names_;
  std::vector<Span> spans_;
  std::vector<std::uintptr_t> scratch_;
};

}  // namespace fastopt::c
