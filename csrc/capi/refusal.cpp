#include "refusal.hpp"

#include <algorithm>
#include <cstring>

namespace fastopt::c {
namespace {

thread_local char latest[512] = "";

}  // namespace

int refuse(std::string_view why) noexcept {
  const std::size_t length = std::min(why.size(), sizeof latest - 1);
  std::memcpy(latest, why.data(), length);
  latest[length] = 0;
  return FASTOPT_REFUSED;
}

const char* message() noexcept { return latest; }

}  // namespace fastopt::c
