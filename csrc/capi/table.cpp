// The table of all functions, as the capsule of the Python module has it, or a program without
// Python.
#include "../kernels/table.hpp"

#include <cstdlib>
#include <stdexcept>

#include "functions.hpp"
#include "refusal.hpp"

namespace fastopt {

const fastopt_functions& c_functions() {
  using namespace c;
  static const fastopt_functions table{
      FASTOPT_ABI,
      FASTOPT_ABI_MINOR,
      message,
      c::find_rule,
      rule_name,
      option_name,
      option_default,
      array_name,
      array_is_optional,
      scalar_name,
      scalar_start,
      update,
      check_update,
      new_optimizer,
      free_optimizer,
      set_array,
      set_average,
      set_mask,
      set_drop,
      find_option,
      set_option,
      get_option,
      set_penalty,
      set_count,
      get_count,
      set_scalar,
      get_scalar,
      step,
      check_step,
      grad_norm,
      nonfinite_array,
      c::global_norm,
      c::dropout,
      dropout_mask,
      set_threads,
      get_threads,
      isa,
  };
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
