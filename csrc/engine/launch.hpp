// From tensors to the work of threads: over which pieces, on how many.
#pragma once
#include "parallel.hpp"
#include "update.hpp"

namespace fastopt {

// Updates all tensors, each as its group is to be.
void launch(const Tensors& list, const Update* groups, bool flush_denormals, int threads);

// Runs body over an index space, in pieces that begin at multiples of `unit`, on as many of the
// threads as pay.
void run_chunks(IndexSpace space, std::int64_t unit, int threads, RangeBody body,
                const void* context);

}  // namespace fastopt
