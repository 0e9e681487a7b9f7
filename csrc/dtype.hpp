// The element types that steps compute in.
#pragma once
#include <cstdint>

namespace fastopt {

enum class Dtype { float32, float64, count };
constexpr int dtypes = int(Dtype::count);

constexpr std::int64_t size_of(Dtype dtype) { return dtype == Dtype::float32 ? 4 : 8; }

}  // namespace fastopt
