#include "overlap.hpp"

#include <algorithm>

namespace fastopt {
namespace {

bool conflict(const Span& a, const Span& b) {
  return (a.written || b.written) && a.begin < b.end && b.begin < a.end;
}

// The cheap proof: if no two spans, one of them written, have the same owner, there is nothing to
// find. A hash set of owners needs a few nanoseconds a span; sorting needs fifty.
bool owners_prove_disjoint(const std::vector<Span>& spans, std::vector<std::uintptr_t>& slots) {
  constexpr std::uintptr_t one = 1;
  std::size_t size = 16;
  while (size < 2 * spans.size()) size *= 2;
  slots.assign(size, 0);
  int shift = 64;
  for (std::size_t left = size; left > 1; left /= 2) --shift;
  for (const Span& span : spans) {
    if (span.owner == 0 || span.owner % 2 != 0) return false;  // the lowest bit marks the written
    // Fibonacci hashing: addresses differ in their middle bits, the product in its upper ones.
    std::size_t slot = (span.owner * std::uint64_t{0x9E3779B97F4A7C15}) >> shift;
    while (slots[slot] != 0 && (slots[slot] & ~one) != span.owner) slot = (slot + 1) & (size - 1);
    if (slots[slot] != 0 && (span.written || (slots[slot] & 1))) return false;
    slots[slot] |= span.owner | span.written;
  }
  return true;
}

bool report(std::vector<Span>& spans, std::size_t a, std::size_t b) {  // a < b
  std::swap(spans[0], spans[a]);
  std::swap(spans[1], spans[b]);
  return true;
}

}  // namespace

bool find_overlap(std::vector<Span>& spans, std::vector<std::uintptr_t>& scratch,
                  SharesMemory shares_memory, void* context) {
  constexpr std::size_t few = 8;  // every pair is looked at
  if (spans.size() > few) {
    if (owners_prove_disjoint(spans, scratch)) return false;
    std::sort(spans.begin(), spans.end(),
              [](const Span& a, const Span& b) { return a.begin < b.begin; });
  }
  // `first` is where the spans begin that reach as far as this one, `reach` how far they do;
  // `written` has those of them that are written, which are all that matters to one that is only
  // read.
  std::vector<std::uintptr_t>& written = scratch;
  written.clear();
  std::size_t first = 0;
  std::uintptr_t reach = 0;
  const auto shared = [&](std::size_t a, std::size_t b) {
    return conflict(spans[a], spans[b]) && shares_memory(context, spans[a], spans[b]);
  };
  for (std::size_t b = 0; b < spans.size(); ++b) {
    if (spans.size() > few && spans[b].begin >= reach) {
      first = b;
      written.clear();
    }
    reach = std::max(reach, spans[b].end);
    if (spans[b].written) {
      for (std::size_t a = first; a < b; ++a)
        if (shared(a, b)) return report(spans, a, b);
      written.push_back(b);
    } else {
      for (std::uintptr_t a : written)
        if (shared(a, b)) return report(spans, a, b);
    }
  }
  return false;
}

}  // namespace fastopt
