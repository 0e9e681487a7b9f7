// The parts of the program.
#pragma once
#include <stdexcept>
#include <string>
#include <vector>

#include "../../csrc/dtype.hpp"
#include "numbers.hpp"

namespace native {

constexpr int most_threads = 3;

// What is printed, a checksum a line.
class Lines {
 public:
  std::vector<std::string> all;

  void add(const std::string& what, const Checksum& checksum);
};

// Steps of every rule in every case. `realistic` options have bias corrections that are rounded,
// others have exact ones.
void add_steps(Lines& lines, int threads, bool realistic);

// Everything that is no step.
void add_passes(Lines& lines, int threads);

// Throws unless a rule with two phases does what plain loops do.
void check_two_phases(int threads);

// Throws unless the functions for C make the same steps in every way.
void check_c_functions(int threads);

// Throws unless work is shared among as many threads as are asked for.
void check_threads();

inline void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

inline std::string name_of(fastopt::Dtype dtype) {
  return dtype == fastopt::Dtype::float32 ? "float32" : "float64";
}

}  // namespace native
