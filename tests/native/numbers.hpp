// Inputs and checksums that are the same on every platform. (What <random> makes of its engines is
// left to each standard library, and the bytes of a number to each processor.)
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace native {

// Numbers in [-1, 1) from the top bits of a linear congruential generator (Knuth's MMIX).
class Numbers {
 public:
  double next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(static_cast<std::int64_t>(state_) >> 11) / 4503599627370496.0;
  }

 private:
  std::uint64_t state_ = 1;
};

// Takes numbers as their bits, so that the order of bytes in memory does not matter.
class Checksum {
 public:
  void add(std::uint64_t bits) {
    hash_ = (hash_ ^ bits) * 1099511628211u;
    hash_ ^= hash_ >> 32;
  }

  void add(double number) { add_bits<std::uint64_t>(number); }
  void add(float number) { add_bits<std::uint32_t>(number); }

  std::uint64_t value() const { return hash_; }

 private:
  template <class Bits, class Number>
  void add_bits(Number number) {
    static_assert(sizeof(Bits) == sizeof number);
    Bits bits;
    std::memcpy(&bits, &number, sizeof bits);
    add(std::uint64_t{bits});
  }

  std::uint64_t hash_ = 14695981039346656037u;
};

}  // namespace native
