// Which processor a thread is on, where the system tells (Linux).
#pragma once

#ifdef __linux__
#include <sched.h>
#endif

namespace fastopt {

// The number of the processor that the calling thread is on, or -1.
inline int current_processor() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves the calling thread away from this processor, if it may be on another. Which ones it may be
// on does not change.
inline void leave_processor([[maybe_unused]] int processor) {
#ifdef __linux__
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(processor, &others);
  if (CPU_COUNT(&others) == 0) return;
  sched_setaffinity(0, sizeof others, &others);
  sched_setaffinity(0, sizeof allowed, &allowed);
#endif
}

}  // namespace fastopt
