// Random decisions from Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1,
// 2, 3"): a function of a counter and a key, with no state. Any thread can compute any block.
// Included by each isa/*.cpp.

// Decides on the block_size elements of one block. Counter j of the block has eight pieces of 16
// bits, low halves first; piece k decides on element 32*k + j. So one vector holds neighbours.
void philox_keep(const DropoutStream& stream, std::int64_t block,
                 std::uint8_t* FASTOPT_RESTRICT keep) {
  constexpr int counters = block_size / 8;
  const std::uint64_t first = std::uint64_t(block) * counters;
  const auto low = [](std::uint64_t x) { return std::uint32_t(x); };
  const auto high = [](std::uint64_t x) { return std::uint32_t(x >> 32); };
  const std::uint32_t threshold = stream.threshold;
  const std::uint32_t first_low = low(first), first_high = high(first);
  const std::uint32_t offset_low = low(stream.offset), offset_high = high(stream.offset);
  const std::uint32_t seed_low = low(stream.seed), seed_high = high(stream.seed);
  for (int j = 0; j < counters; ++j) {
    // The sum does not carry into the next word: it stays below the next multiple of 32.
    std::uint32_t word0 = first_low + std::uint32_t(j), word1 = first_high;
    std::uint32_t word2 = offset_low, word3 = offset_high;
    std::uint32_t key0 = seed_low, key1 = seed_high;
    FASTOPT_UNROLL(10)
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t product0 = std::uint64_t{0xD2511F53} * word0;
      const std::uint64_t product1 = std::uint64_t{0xCD9E8D57} * word2;
      word0 = high(product1) ^ word1 ^ key0;
      word1 = low(product1);
      word2 = high(product0) ^ word3 ^ key1;
      word3 = low(product0);
      key0 += 0x9E3779B9;  // the golden ratio
      key1 += 0xBB67AE85;  // the square root of 3, less 1
    }
    const auto decide = [&](std::uint32_t word, int piece) {
      keep[piece * counters + j] = (word & 0xFFFF) >= threshold;
      keep[(piece + 1) * counters + j] = (word >> 16) >= threshold;
    };
    decide(word0, 0);
    decide(word1, 2);
    decide(word2, 4);
    decide(word3, 6);
  }
}
