#include "masks.hpp"

namespace fastopt {

void pack_bits(const std::uint8_t* keep, std::int64_t n, std::uint8_t* bits) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    std::uint64_t bytes = 0;
    for (int bit = 0; bit < 8; ++bit) bytes |= std::uint64_t{keep[i + bit]} << 8 * bit;
    // The product adds up eight copies of the bytes, shifted such that bit 0 of byte k meets place
    // 56 + k, and no two bits meet in one place.
    bits[i / 8] = static_cast<std::uint8_t>(bytes * 0x0102040810204080 >> 56);
  }
  if (i == n) return;
  unsigned last = 0;
  for (int bit = 0; i + bit < n; ++bit) last |= unsigned{keep[i + bit]} << bit;
  bits[i / 8] = static_cast<std::uint8_t>(last);
}

}  // namespace fastopt
