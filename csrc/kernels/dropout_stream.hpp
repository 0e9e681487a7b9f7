// What decides which elements dropout keeps.
#pragma once
#include <cmath>
#include <cstdint>

namespace fastopt {

// The stream of decisions of one array: Philox with the key `seed`, and counters that hold the
// number of the block and `offset`.
struct DropoutStream {
  std::uint64_t seed, offset;
  std::uint32_t threshold;  // of 65536: an element is kept if its 16 bits are not below this

  static constexpr double resolution = 65536;

  DropoutStream(double p, std::uint64_t seed, std::uint64_t offset)
      : seed(seed), offset(offset), threshold(std::uint32_t(std::nearbyint(p * resolution))) {}

  DropoutStream of_entry(int entry) const {
    DropoutStream other = *this;
    other.offset += std::uint64_t(entry);
    return other;
  }

  // The share that is really kept. Where that is nothing, the scale does not matter.
  double keep_prob() const { return 1 - threshold / resolution; }
  double keep_scale() const { return threshold == resolution ? 1 : 1 / keep_prob(); }
};

}  // namespace fastopt
