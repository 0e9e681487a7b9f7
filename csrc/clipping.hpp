// Clipping of gradients by their norm: from a norm to the factor that goes into the scale.
#pragma once
#include <limits>

#include "rule_options.hpp"

namespace fastopt {

struct ClipOptions {
  double norm, tensor_norm;  // infinity where not asked for
  double eps;
  bool skip_nonfinite;

  template <class Reader>
  explicit ClipOptions(Reader& read)
      : norm(read.number_or("clip_norm", Range::positive, never)),
        tensor_norm(read.number_or("clip_tensor_norm", Range::positive, never)),
        eps(read.number("clip_eps", Range::non_negative)),
        skip_nonfinite(read.flag("skip_nonfinite")) {}

  static constexpr double never = std::numeric_limits<double>::infinity();

  bool global() const { return norm != never; }
  bool by_tensor() const { return tensor_norm != never; }
  bool need_norms() const { return global() || by_tensor() || skip_nonfinite; }
};

// Pascanu et al. 2013, algorithm 1, with torch's eps in the denominator. A norm that is NaN gives
// NaN: a gradient that is broken stays visible.
inline double clip_factor(double max_norm, double norm, double eps) {
  const double factor = max_norm / (norm + eps);
  return factor >= 1 ? 1 : factor;
}

}  // namespace fastopt
