// The yardstick of the benchmarks: the least that a step with these arrays could cost. It reads and
// writes the same memory as a step and does nothing but one addition for every array.
#pragma once
#include "../tensors/tensors.hpp"

namespace fastopt {

// Adds the gradient to the parameter and to every array of the state, in even parts, one for each
// thread. All arrays must be contiguous.
void probe_memory(const Tensors& list, int threads);

// The same for a phase that only reads: all arrays that there are.
void probe_reading(const Tensors& list, int threads);

// The same for dropout and what else reads one array and writes another: the parameter becomes the
// gradient plus one.
void probe_copy(const Tensors& list, int threads);

}  // namespace fastopt
