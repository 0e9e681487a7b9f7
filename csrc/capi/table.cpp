// The table of all functions, as the capsule of the Python module has it, or a program without
// Python.
#include "../kernels/table.hpp"

#include <cstdlib>
#include <stdexcept>

#include "../engine/rules.hpp"
#include "../engine/tensors/streams.hpp"
#include "functions.hpp"

namespace fastopt {

static_assert(FASTOPT_MAX_OPTIONS == Rule::max_options);
static_assert(FASTOPT_MAX_ARRAYS == Streams::max_states);
static_assert(FASTOPT_MAX_SCALARS == Rule::max_scalars);
static_assert(FASTOPT_FLOAT32 == int(Dtype::float32) && FASTOPT_FLOAT64 == int(Dtype::float64));

const fastopt_functions& c_functions() {
#define FASTOPT_ENTRY(name) c::name,
  static const fastopt_functions table{FASTOPT_ABI, FASTOPT_ABI_MINOR,
                                       FASTOPT_EACH_FUNCTION(FASTOPT_ENTRY)};
#undef FASTOPT_ENTRY
  return table;
}

}  // namespace fastopt

// For programs without Python. The instruction set is the best one, or that of FASTOPT_ISA if it is
// here.
extern "C" const fastopt_functions* fastopt_engine() {
  using namespace fastopt;
  static const fastopt_functions* const functions = [] {
    const char* forced = std::getenv("FASTOPT_ISA");
    select_table(available_tables().front()->name);
    try {
      if (forced && *forced) select_table(forced);
    } catch (const std::invalid_argument&) {  // another processor's
    }
    return &c_functions();
  }();
  return functions;
}
