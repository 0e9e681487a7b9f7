// Do arrays share memory? Works on addresses alone.
#pragma once
#include <cstdint>
#include <vector>

namespace fastopt {

// The memory of one array: all its bytes are in [begin, end).
struct Span {
  std::uintptr_t begin, end;
  std::uintptr_t owner;   // differs between allocations, which never overlap; 0 where it is unknown
  std::int32_t entry;     // for the caller: which array of
  std::int32_t argument;  // which argument
  bool written;
};

// Two arrays whose spans intersect may still miss each other, like two columns of a matrix. The
// caller, who knows the arrays, decides.
using SharesMemory = bool (*)(void* context, const Span& a, const Span& b);

// Finds two spans that share memory, at least one of them written, and puts them first in the list.
// Returns false if there are none. `scratch` is the caller's only to spare an allocation.
bool find_overlap(std::vector<Span>& spans, std::vector<std::uintptr_t>& scratch,
                  SharesMemory shares_memory, void* context);

}  // namespace fastopt
