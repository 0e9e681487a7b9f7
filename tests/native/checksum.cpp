// Steps every rule a few times without Python and prints checksums of all arrays. Built for two
// architectures, it must print the same: promise 2 across platforms.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../../csrc/isa/isa.hpp"

using namespace fastopt;

namespace {

// Options as a user might set them, in place of the reader of Python arguments.
struct FixedOptions {
  double number_or(const char* name, Range, double) const {
    return !std::strcmp(name, "clip_value") ? 0.8 : 0.99;
  }
  double number(const char* name, Range range, const char* = nullptr) const {
    if (!std::strcmp(name, "keep_prob")) return 0.75;
    if (!std::strcmp(name, "grad_scale")) return 1.25;
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

template <template <class> class Rule, class Options, class T>
void run(const char* function, Dtype dtype, const KernelTable& table) {
  constexpr std::int64_t size = 1003;
  FixedOptions fixed;
  const Options options(fixed);
  const TermOptions term_options(fixed);
  std::uint64_t hash = 14695981039346656037u;
  for (Terms terms : {Terms::none, Terms::linear, Terms::linear_averaged, Terms::all}) {
    Numbers numbers;
    std::vector<T> arrays[Streams::count];
    std::vector<std::uint8_t> mask(size);
    Streams streams{};
    for (int s = 0; s < Streams::count; ++s) {
      for (std::int64_t i = 0; i < size; ++i) {
        const double x = numbers.next();
        arrays[s].push_back(static_cast<T>(s >= Streams::first_state ? x * x : x));
        if (s == Streams::mask) mask[i] = x > -0.5;
      }
      streams.at[s] = arrays[s].data();
    }
    streams.at[Streams::mask] = mask.data();
    const Kernel kernel = table.find(rule_id<Rule>, dtype, terms);
    for (int t = 1; t <= 5; ++t) {
      const StepScalars<Rule, T> scalars{{options, double(t)}, {term_options, options.lr}, t == 5};
      kernel(&scalars, -1.25, streams, size);
    }
    const double squares = table.sum_of_squares[int(dtype)](streams.at[Streams::param], 0.5, size);
    hash = checksum(&squares, sizeof squares, hash);
    for (const auto& array : arrays) hash = checksum(array.data(), size * sizeof(T), hash);
  }
  std::printf("%s rule %d %s %016llx\n", function, rule_id<Rule>,
              dtype == Dtype::float32 ? "float32" : "float64", (unsigned long long)hash);
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
  } else {
    for (const KernelTable* table : available_tables()) std::printf("%s\n", table->name);
  }
}
