// What a step does around its rule: a loop for each term, over a block that is in the first-level
// cache. A term that is not asked for is a loop that does not run. Included by each isa/*.cpp.

// What changes the gradient reads it from one place and writes it to another, which may be the same
// one.
template <class T>
void scale(std::int64_t n, T factor, const T* g, T* to) {
  FASTOPT_INDEPENDENT
  for (std::int64_t i = 0; i < n; ++i) to[i] = g[i] * factor;
}

template <class T>
void clip(std::int64_t n, T limit, T* g) {  // NaN stays NaN
  for (std::int64_t i = 0; i < n; ++i) g[i] = bounded(g[i], limit);
}

// Selected, not multiplied by zero: what is dropped may be infinite.
template <class T>
void drop(std::int64_t n, T keep_scale, const std::uint8_t* FASTOPT_RESTRICT keep, const T* x,
          T* to) {
  FASTOPT_INDEPENDENT
  for (std::int64_t i = 0; i < n; ++i) {
    const T scaled = x[i] * keep_scale;
    to[i] = keep[i] != 0 ? scaled : T(0);
  }
}

// The penalties in one loop, after the scale. Which there are is known when this is compiled: one
// that is zero is absent, because 0 * inf would make NaN.
template <class T, bool has_l2, bool has_l1, bool decays>
void penalize(std::int64_t n, const PenaltyScalars<T>& given, T* FASTOPT_RESTRICT p, const T* g,
              T* to) {
  const PenaltyScalars<T> scalars = given;
  FASTOPT_INDEPENDENT
  for (std::int64_t i = 0; i < n; ++i) {
    const T x = p[i];
    T grad = g[i] * scalars.grad_scale;
    if constexpr (has_l2) grad = grad + scalars.l2 * x;
    if constexpr (has_l1) grad = grad + scalars.l1 * sign(x);
    if constexpr (decays) p[i] = x - scalars.decay * x;
    to[i] = grad;
  }
}

template <class T>
void decay(std::int64_t n, T rate, T* p) {
  for (std::int64_t i = 0; i < n; ++i) p[i] -= rate * p[i];
}

// sign(x) * max(|x| - threshold, 0). Adding zero makes -0 positive, whose sign is 0 and not -1.
template <class T>
FASTOPT_INLINE T shrunk(T x, T threshold) {
  const T rest = std::fabs(x) - threshold;
  return std::copysign(rest < 0 ? T(0) : rest, x + T(0));
}

template <class T>
void shrink(std::int64_t n, T threshold, T* p) {
  for (std::int64_t i = 0; i < n; ++i) p[i] = shrunk(p[i], threshold);
}

template <class T>
void cut_negative(std::int64_t n, T* p) {  // NaN stays NaN
  for (std::int64_t i = 0; i < n; ++i) p[i] = p[i] < 0 ? T(0) : p[i];
}

// How states and averages are stored. What decays without end would stay below the normal numbers
// for ever, where arithmetic takes many times as long. NaN stays NaN.
template <class T>
FASTOPT_INLINE T normal_or_zero(T x) {
  constexpr T smallest_normal = std::numeric_limits<T>::min();
  return std::fabs(x) < smallest_normal ? T(0) : x;
}

// Two forms of one average. In both, where average and parameter are equal, their difference is
// zero, and the average of a constant is that constant: decay * ema + (1 - decay) * p drifts.
template <class T>
void average_from_ema(std::int64_t n, T one_minus_decay, const T* FASTOPT_RESTRICT p,
                      T* FASTOPT_RESTRICT ema) {
  for (std::int64_t i = 0; i < n; ++i)
    ema[i] = normal_or_zero(ema[i] + one_minus_decay * (p[i] - ema[i]));
}

template <class T>
void average_from_param(std::int64_t n, T decay, const T* FASTOPT_RESTRICT p,
                        T* FASTOPT_RESTRICT ema) {
  for (std::int64_t i = 0; i < n; ++i) ema[i] = normal_or_zero(p[i] - decay * (p[i] - ema[i]));
}

template <class T>
void average_is_param(std::int64_t n, const T* FASTOPT_RESTRICT p, T* FASTOPT_RESTRICT ema) {
  for (std::int64_t i = 0; i < n; ++i) ema[i] = normal_or_zero(p[i]);
}

template <class T>
void restore(std::int64_t n, const std::uint8_t* FASTOPT_RESTRICT changes,
             const T* FASTOPT_RESTRICT old, T* FASTOPT_RESTRICT x) {
  for (std::int64_t i = 0; i < n; ++i) {
    const T before = old[i], now = x[i];
    x[i] = changes[i] != 0 ? now : before;
  }
}

// Puts every byte of the bits into eight bytes and leaves bit k in byte k.
void unpack_bits(const std::uint8_t* FASTOPT_RESTRICT bits, std::int64_t bytes,
                 std::uint8_t* FASTOPT_RESTRICT keep) {
  constexpr std::uint64_t copies = 0x0101010101010101;
  constexpr std::uint64_t bit_k_of_byte_k =
      FASTOPT_BIG_ENDIAN ? 0x0102040810204080 : 0x8040201008040201;
  for (std::int64_t i = 0; i < bytes; ++i) {
    const std::uint64_t spread = bits[i] * copies & bit_k_of_byte_k;
    std::memcpy(keep + 8 * i, &spread, 8);
  }
}

// Of estimates by rows and columns; see engine/tensors/factored.hpp.
template <class T>
void square(std::int64_t n, const T* FASTOPT_RESTRICT g, double* FASTOPT_RESTRICT to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = double(g[i]) * g[i];
}

// Of whole rows, whose lanes stay in registers.
template <class T>
void squares_of_rows(std::int64_t rows, std::int64_t size, const T* FASTOPT_RESTRICT g,
                     double* FASTOPT_RESTRICT sums) {
  for (; rows > 0; --rows, g += size) {
    double sum[lanes] = {}, rest[lanes] = {};
    std::int64_t i = 0;
    for (; i + lanes <= size; i += lanes) {
      FASTOPT_UNROLL(1)  // before there are vectors, or a short loop stays scalar
      for (int lane = 0; lane < lanes; ++lane) sum[lane] += double(g[i + lane]) * g[i + lane];
    }
    for (int lane = 0; i < size; ++i, ++lane) rest[lane] = double(g[i]) * g[i];
    *sums++ = folded(sum, rest);
  }
}

// Into lanes that are there already.
template <bool of_each, class T>
FASTOPT_INLINE void square_into(std::int64_t n, const T* FASTOPT_RESTRICT g, std::int64_t place,
                                double* FASTOPT_RESTRICT in_lanes,
                                [[maybe_unused]] double* FASTOPT_RESTRICT to) {
  double sum[lanes];  // gcc keeps them in registers as long as nothing points into them
  std::int64_t i = 0;
  for (auto lane = std::uint64_t(place) % lanes; lane > 0 && i < n;
       ++i, lane = (lane + 1) % lanes) {
    const double square = double(g[i]) * g[i];
    if constexpr (of_each) to[i] += square;
    in_lanes[lane] += square;
  }
  for (int lane = 0; lane < lanes; ++lane) sum[lane] = in_lanes[lane];
  for (; i + lanes <= n; i += lanes) {
    FASTOPT_UNROLL(1)  // before there are vectors, or a short loop stays scalar
    for (int lane = 0; lane < lanes; ++lane) {
      const double square = double(g[i + lane]) * g[i + lane];
      if constexpr (of_each) to[i + lane] += square;
      sum[lane] += square;
    }
  }
  for (int lane = 0; lane < lanes; ++lane) in_lanes[lane] = sum[lane];
  for (int lane = 0; i < n; ++i, ++lane) {
    const double square = double(g[i]) * g[i];
    if constexpr (of_each) to[i] += square;
    in_lanes[lane] += square;
  }
}

template <class T>
void sum_squares(std::int64_t n, const T* FASTOPT_RESTRICT g, std::int64_t place,
                 double* FASTOPT_RESTRICT in_lanes) {
  square_into<false>(n, g, place, in_lanes, nullptr);
}

template <class T>
void add_squares(std::int64_t n, const T* FASTOPT_RESTRICT g, std::int64_t place,
                 double* FASTOPT_RESTRICT in_lanes, double* FASTOPT_RESTRICT to) {
  square_into<true>(n, g, place, in_lanes, to);
}

template <class T>
void multiply(std::int64_t n, T factor, T most, const T* FASTOPT_RESTRICT x,
              T* FASTOPT_RESTRICT to) {  // NaN stays NaN
  for (std::int64_t i = 0; i < n; ++i) {
    const T product = factor * x[i];
    to[i] = product > most ? most : product;
  }
}

template <class T>
void inverse_root(std::int64_t n, T most, const T* FASTOPT_RESTRICT x, T* FASTOPT_RESTRICT to) {
  for (std::int64_t i = 0; i < n; ++i) {
    const T inverse = 1 / std::sqrt(x[i]);
    to[i] = inverse > most ? most : inverse;
  }
}

void add(std::int64_t n, const double* FASTOPT_RESTRICT x, double* FASTOPT_RESTRICT to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += x[i];
}

template <class T>
constexpr Loops<T> loops() {
  return {scale<T>,
          clip<T>,
          drop<T>,
          {penalize<T, false, false, false>, penalize<T, false, false, true>,
           penalize<T, false, true, false>, penalize<T, false, true, true>,
           penalize<T, true, false, false>, penalize<T, true, false, true>,
           penalize<T, true, true, false>, penalize<T, true, true, true>},
          decay<T>,
          shrink<T>,
          cut_negative<T>,
          average_from_ema<T>,
          average_from_param<T>,
          average_is_param<T>,
          restore<T>,
          square<T>,
          squares_of_rows<T>,
          sum_squares<T>,
          add_squares<T>,
          multiply<T>,
          inverse_root<T>,
          sums<T>()};
}
