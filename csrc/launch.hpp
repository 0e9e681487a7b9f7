// From checked tensors to the work of threads: over which pieces, on how many.
#pragma once
#include "arrays.hpp"
#include "parallel.hpp"
#include "update.hpp"

namespace fastopt {

// Updates all tensors, each as its group is to be.
void launch(const TensorList& list, const Update* groups, bool flush_denormals, int threads);

// Runs body over an index space, in pieces that begin at multiples of `unit`, on threads and
// without the GIL where that pays.
void run_chunks(IndexSpace space, std::int64_t unit, int threads, RangeBody body,
                const void* context);

}  // namespace fastopt
