// Runs every loop of the kernels a few times without Python and prints checksums of all arrays.
// Built for two architectures, it must print the same: promise 2 across platforms.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../../csrc/isa/isa.hpp"

using namespace fastopt;

namespace {

// Options as a user might set them, in place of the reader of Python arguments.
struct FixedOptions {
  double number(const char*, Range range, const char* = nullptr) const {
    return range == Range::non_negative ? 0.01 : 0.9;
  }
  bool flag(const char* name) const {
    return !std::strcmp(name, "nesterov") || !std::strcmp(name, "epsilon_hat");
  }
};

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

std::uint64_t checksum(const void* data, std::size_t bytes, std::uint64_t hash) {
  const auto* byte = static_cast<const unsigned char*>(data);
  for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ byte[i]) * 1099511628211u;  // FNV-1a
  return hash;
}

constexpr std::int64_t size = 1003;

template <class T>
std::vector<T> random_array(Numbers& numbers) {
  std::vector<T> array;
  for (std::int64_t i = 0; i < size; ++i) array.push_back(static_cast<T>(numbers.next()));
  return array;
}

template <class T>
std::uint64_t checksum(const std::vector<T>& array, std::uint64_t hash) {
  return checksum(array.data(), size * sizeof(T), hash);
}

constexpr std::uint64_t empty = 14695981039346656037u;

void print(const char* what, int number, Dtype dtype, std::uint64_t hash) {
  std::printf("%s %d %s %016llx\n", what, number, dtype == Dtype::float32 ? "float32" : "float64",
              (unsigned long long)hash);
}

template <template <class> class Rule, class Options, class T>
void run(const char* function, Dtype dtype, const KernelTable& table) {
  FixedOptions fixed;
  const Options options(fixed);
  const RuleLoops& loops = table.rules[rule_id<Rule>][int(dtype)];
  Numbers numbers;
  std::vector<T> param = random_array<T>(numbers), grad = random_array<T>(numbers);
  std::vector<T> state[3];
  void* states[3];
  for (int s = 0; s < 3; ++s) {
    state[s] = random_array<T>(numbers);
    for (T& x : state[s]) x *= x;
    states[s] = state[s].data();
  }
  for (int t = 1; t <= 5; ++t) {
    const Rule<T> rule(options, double(t));
    loops.update(&rule, size, param.data(), grad.data(), states);
    if (loops.shrink) loops.shrink(&rule, size, 0.001, param.data(), states);
  }
  std::uint64_t hash = checksum(param, empty);
  for (const auto& array : state) hash = checksum(array, hash);
  print(function, rule_id<Rule>, dtype, hash);
}

// Every loop of the terms in turn, each on what the one before has left.
template <class T>
void run_terms(Dtype dtype, const KernelTable& table) {
  const Loops<T>& loops = table.loops(T());
  Numbers numbers;
  std::vector<T> p = random_array<T>(numbers), g = random_array<T>(numbers);
  std::vector<T> changed(size), ema = random_array<T>(numbers);
  const std::vector<T> before = p;
  std::vector<std::uint8_t> keep((size + keep_block - 1) / keep_block * keep_block);
  const DropoutStream stream(0.3, 0x123456789ABCDEF, 0xFEDCBA987654321);
  for (std::int64_t i = 0; i < size; i += keep_block)
    table.philox_keep(stream, i / keep_block, keep.data() + i);
  std::uint64_t hash = checksum(keep.data(), size, empty);

  loops.scale(size, T(1.25), g.data(), changed.data());
  loops.clip(size, T(0.8), changed.data());
  loops.drop(size, T(1.4), keep.data(), changed.data(), changed.data());
  for (int terms = 0; terms < 8; ++terms) {
    const PenaltyScalars<T> scalars{T(0.75), T(0.01), T(0.02), T(0.03)};
    loops.penalize[terms](size, scalars, p.data(), changed.data(), changed.data());
  }
  hash = checksum(changed, hash);
  loops.decay(size, T(0.01), p.data());
  loops.shrink(size, T(0.05), p.data());
  hash = checksum(p, hash);
  loops.average(size, T(0.99), T(0.01), p.data(), ema.data());
  loops.cut_negative(size, p.data());
  loops.restore(size, keep.data(), before.data(), p.data());
  hash = checksum(ema, checksum(p, hash));
  const double sums[] = {loops.sums.squares(p.data(), 0.5, size),
                         loops.sums.magnitudes(p.data(), 1, size),
                         loops.sums.zeros(p.data(), 1, size)};
  hash = checksum(sums, sizeof sums, hash);

  std::vector<std::uint8_t> bits(size / 8), bytes(size / 8 * 8);
  for (auto& byte : bits) byte = static_cast<std::uint8_t>(128 + 100 * numbers.next());
  table.unpack_bits(bits.data(), size / 8, bytes.data());
  for (auto& byte : bytes) byte = byte != 0;
  print("terms", 0, dtype, checksum(bytes.data(), bytes.size(), hash));
}

template <class Options, template <class> class... Rule>
void run_family(Family<Options, Rule...>, const KernelTable& table) {
  (run<Rule, Options, float>(Options::function, Dtype::float32, table), ...);
  (run<Rule, Options, double>(Options::function, Dtype::float64, table), ...);
}

template <class... Family>
void run_all(FamilyList<Family...>, const KernelTable& table) {
  (run_family(Family{}, table), ...);
}

}  // namespace

// The argument names the table; without one, the names of all are printed.
int main(int count, char** arguments) {
  if (count > 1) {
    select_table(arguments[1]);
    run_all(Families{}, current_table());
    run_terms<float>(Dtype::float32, current_table());
    run_terms<double>(Dtype::float64, current_table());
  } else {
    for (const KernelTable* table : available_tables()) std::printf("%s\n", table->name);
  }
}
