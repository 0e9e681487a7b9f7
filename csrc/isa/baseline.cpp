// The kernels for any processor of the architecture that the library is built for.
#include <cstdint>
#include <utility>

#include "../storage.hpp"
#include "isa.hpp"

namespace fastopt {
namespace {
#include "../reduce.inl"
#include "../update_loop.inl"
}  // namespace

extern constexpr KernelTable baseline_table = make_table("baseline", Rules{});

}  // namespace fastopt
