// The thread pool and the split of work into chunks. It knows nothing of arrays or rules.
#pragma once
#include <cstdint>

namespace fastopt {

// Work on the part [begin, end) of a range. Must not throw.
using RangeBody = void (*)(const void* context, std::int64_t begin, std::int64_t end);

// Calls body for consecutive pieces of [0, total), each `chunk` long but for the last, from the
// calling thread and up to `threads - 1` others, and returns when all pieces are done. Threads
// begin with a share of their own and then help each other; body must not depend on who does what.
// If the pool is busy with a region of another thread, the caller does all pieces alone.
void parallel_for(std::int64_t total, std::int64_t chunk, int threads, RangeBody body,
                  const void* context) noexcept;

// Notes a call, and tells whether the other threads have worked just now and wait for more, or
// would if this had been asked and heeded: calls in quick succession shall find them awake.
bool expect_workers();

// The number of threads that calls use unless they say otherwise. Workers beyond it are ended.
void set_num_threads(int threads);
int get_num_threads();

}  // namespace fastopt
