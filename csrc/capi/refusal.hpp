// How functions for C say that an argument is wrong: a code, and a message that is kept.
#pragma once
#include <new>
#include <string>
#include <string_view>

#include "functions.hpp"

namespace fastopt::c {

// Thrown where an argument is wrong, and caught below.
struct Refusal {
  std::string why;
};

// Keeps the message for this thread. It needs no memory.
int refuse(std::string_view why) noexcept;

// Runs what may throw; returns its code.
template <class Call>
int guarded(const Call& call) noexcept {
  try {
    return call();
  } catch (const Refusal& refusal) {
    return refuse(refusal.why);
  } catch (const std::bad_alloc&) {
    refuse("there is not enough memory");
    return FASTOPT_NO_MEMORY;
  }
}

}  // namespace fastopt::c
