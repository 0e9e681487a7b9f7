// Masks in packed bits (the element i is bit i % 8 of byte i / 8), and as a byte for each element.
#pragma once
#include <cstdint>

namespace fastopt {

inline std::int64_t packed_size(std::int64_t elements) { return (elements + 7) / 8; }

// One bit for each of n bytes, which are 0 or 1; bits beyond n are 0.
void pack_bits(const std::uint8_t* keep, std::int64_t n, std::uint8_t* bits);

}  // namespace fastopt
