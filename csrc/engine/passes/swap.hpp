// Arrays that change places with others.
#pragma once
#include "../tensors/tensors.hpp"

namespace fastopt {

// Swaps the contents of Streams::param and Streams::ema, of all tensors.
void swap_contents(const Tensors& list);

}  // namespace fastopt
