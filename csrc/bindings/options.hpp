// What other bindings want to know of _core.Options.
#pragma once
#include "../step/options/option_table.hpp"
#include "bindings.hpp"

namespace fastopt {

// The table within; throws for objects of other types.
const OptionTable& options_in(py::handle options);

}  // namespace fastopt
