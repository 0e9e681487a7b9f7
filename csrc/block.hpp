// The unit of work: so many elements stay in the first-level cache while all loops of a step go
// over them. Chunks of threads begin at multiples of it, and dropout decides block by block.
#pragma once
#include <array>
#include <cstdint>

namespace fastopt {

// With 1024 elements, a step with terms takes a tenth longer; with fewer than 256, calls cost.
constexpr std::int64_t block_size = 256;

// A sum is kept in so many sums, which any instruction set has room for in registers. The number
// decides the bits of all sums: reference/norms.py has it as LANES.
constexpr int lanes = 16;

template <class T>
inline constexpr auto block_of_ones = [] {
  std::array<T, block_size> ones{};
  for (T& one : ones) one = 1;
  return ones;
}();

}  // namespace fastopt
