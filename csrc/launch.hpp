// From checked tensors to kernels: which kernel, over which pieces, on how many threads.
#pragma once
#include "arrays.hpp"
#include "isa/isa.hpp"
#include "parallel.hpp"

namespace fastopt {

// What a step does to every element.
struct Launch {
  int rule;
  Terms terms;
  const void* scalars[int(Dtype::count)];  // StepScalars of the rule, for each dtype
  double grad_scale;
  const double* tensor_factors;  // null, or one more factor of grad_scale for each tensor
  unsigned written;              // a bit for each stream that is an output
  bool flush_denormals;
};

// Updates all tensors.
void launch(const TensorList& list, const Launch& step, int threads);

// Runs body over the index space of a list, in pieces that begin at multiples of `unit`, on threads
// and without the GIL where that pays.
void run_chunks(const TensorList& list, std::int64_t unit, int threads, RangeBody body,
                const void* context);

}  // namespace fastopt
