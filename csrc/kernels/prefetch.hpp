// Fetching memory ahead of its use.
#pragma once
#include <cstdint>

#include "../block.hpp"
#include "../platform.hpp"

namespace fastopt {

// Fetches the block of elements that begins at an index, or nothing where there is no memory.
// Processors fetch ahead on their own where one loop reads on and on, but not while a block is
// computed with.
template <class T>
FASTOPT_INLINE void prefetch_block(const T* array, std::int64_t index) {
  constexpr std::uintptr_t cache_line = 64;
  // As an integer, because the block may lie behind the array.
  const auto begin = reinterpret_cast<std::uintptr_t>(array) + std::uintptr_t(index) * sizeof(T);
  for (std::uintptr_t byte = 0; byte < block_size * sizeof(T); byte += cache_line)
    FASTOPT_PREFETCH(reinterpret_cast<const void*>(begin + byte));
}

}  // namespace fastopt
