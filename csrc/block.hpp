// The unit of work: so many elements stay in the first-level cache while all loops of a step go
// over them. Chunks of threads begin at multiples of it, and dropout decides block by block.
#pragma once
#include <cstdint>

namespace fastopt {

// With 1024 elements, a step with terms takes a tenth longer; with fewer than 256, calls cost.
constexpr std::int64_t block_size = 256;

}  // namespace fastopt
