// From checked tensors to kernels: which kernel, over which pieces, on how many threads.
#pragma once
#include "arrays.hpp"
#include "isa/isa.hpp"

namespace fastopt {

// What a step does to every element.
struct Launch {
  int rule;
  Terms terms;
  const void* scalars[int(Dtype::count)];  // StepScalars of the rule, for each dtype
  unsigned written;                        // a bit for each stream that is an output
};

// Updates all tensors. Releases the GIL where that pays.
void launch(const TensorList& list, const Launch& step, int threads);

}  // namespace fastopt
