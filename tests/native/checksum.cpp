// Drives the engine without Python and prints a checksum a line, the same on every platform
// (promise 2). It fails where instruction sets or numbers of threads of this machine disagree.
//
//   checksum [ISA]           exact options, all that steps and other passes can do
//   checksum realistic       options as people use them, and powers: the C library rounds these
#include <cinttypes>
#include <cmath>
#include <cstdio>

#include "../../csrc/kernels/table.hpp"
#include "checksums.hpp"

namespace native {

void Lines::add(const std::string& what, const Checksum& checksum) {
  char number[17];
  std::snprintf(number, sizeof number, "%016" PRIx64, checksum.value());
  all.push_back(what + " " + number);
}

namespace {

// The powers that bias corrections take.
void add_powers(Lines& lines) {
  for (volatile double base : {0.9, 0.99, 0.999, 0.9999}) {  // or the compiler would compute them
    Checksum sum;
    for (volatile int t = 1; t <= 10000; t = t + 1) sum.add(std::pow(base, double(t)));
    lines.add("powers of " + std::to_string(base), sum);
  }
}

Lines checksums(int threads, bool realistic) {
  check_two_phases(threads);
  check_c_functions(threads);
  Lines lines;
  add_steps(lines, threads, realistic);
  if (realistic)
    add_powers(lines);
  else
    add_passes(lines, threads);
  return lines;
}

void compare(const Lines& first, const Lines& other, const std::string& what) {
  require(first.all.size() == other.all.size(), what + ": another number of lines");
  for (std::size_t i = 0; i < first.all.size(); ++i)
    require(first.all[i] == other.all[i], what + ": " + other.all[i] + ", not " + first.all[i]);
}

void run(const std::string& wanted, bool realistic) {
  check_threads();
  Lines first;
  for (const fastopt::KernelTable* table : fastopt::available_tables()) {
    if (!wanted.empty() && wanted != table->name) continue;
    fastopt::select_table(table->name);
    for (const int threads : {1, most_threads}) {
      const Lines lines = checksums(threads, realistic);
      if (first.all.empty()) first = lines;
      compare(first, lines, std::string(table->name) + ", threads: " + std::to_string(threads));
    }
    std::fprintf(stderr, "%s: %zu checksums, the same with 1 and %d threads\n", table->name,
                 first.all.size(), most_threads);
  }
  require(!first.all.empty(), "there is no table " + wanted);
  for (const std::string& line : first.all) std::puts(line.c_str());
}

}  // namespace
}  // namespace native

int main(int count, char** arguments) {
  const std::string wanted = count > 1 ? arguments[1] : "";
  const bool realistic = wanted == "realistic";
  try {
    native::run(realistic ? "" : wanted, realistic);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
