// The kernels for any processor of the architecture that the library is built for.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "../prefetch.hpp"
#include "../table.hpp"

namespace fastopt {
namespace baseline {
namespace {
#include "../philox.inl"
#include "../reduce.inl"
#include "../term_loops.inl"
// After term_loops.inl, whose names it uses (and this line keeps formatters from sorting them).
#include "../rule_loop.inl"
}  // namespace
}  // namespace baseline

extern constexpr KernelTable baseline_table = baseline::make_table("baseline", Rules{});

}  // namespace fastopt
