// Sums over elements, included by each isa/*.cpp beside the loop of the updates. A sum depends on
// its order, so the order is fixed: element i is added to lane i % lanes, and these are folded in
// halves.

// Hardware fetches ahead within a page of memory and stops at its end. A loop that reads one array
// alone feels that (0.22 ns per float instead of 0.38); with the many streams of an update, one
// waits while others run.
constexpr int prefetch_bytes = 16384;

struct Plain {
  FASTOPT_INLINE double operator()(double x) const { return x; }
};

struct Square {
  FASTOPT_INLINE double operator()(double x) const { return x * x; }
};

struct Magnitude {
  FASTOPT_INLINE double operator()(double x) const { return std::fabs(x); }
};

struct IsZero {
  FASTOPT_INLINE double operator()(double x) const { return x == 0; }
};

struct IsAboveOne {
  FASTOPT_INLINE double operator()(double x) const { return std::fabs(x) > 1; }
};

template <class T, int count>
FASTOPT_INLINE T folded(const T (&sum)[count]) {
  if constexpr (count == 1) {
    return sum[0];
  } else {  // arrays of known sizes, which stay in registers
    T half[count / 2];
    FASTOPT_UNROLL(1)  // or gcc folds one by one
    for (int lane = 0; lane < count / 2; ++lane) half[lane] = sum[lane] + sum[lane + count / 2];
    return folded(half);
  }
}

// Takes what the last lanes have, which are not all there, from an array of its own: gcc keeps
// lanes in registers as long as nothing points into them.
template <class T>
FASTOPT_INLINE T folded(const T (&sum)[lanes], const T (&rest)[lanes]) {
  T all[lanes];
  FASTOPT_UNROLL(1)
  for (int lane = 0; lane < lanes; ++lane) all[lane] = sum[lane] + rest[lane];
  return folded(all);
}

template <class Of, class T>
double sum_of(const void* untyped, double scale, std::int64_t n) {
  const auto* x = static_cast<const T*>(untyped);
  constexpr Of of{};
  double sum[lanes] = {}, rest[lanes] = {};
  constexpr std::int64_t ahead = prefetch_bytes / sizeof(T);
  const std::int64_t whole = n - n % lanes;
  std::int64_t i = 0;
  while (i < whole) {
    if (n > block_size) prefetch_block(x + i, ahead);  // in the inner loop it spoils the vectors
    const std::int64_t end = whole - i < block_size ? whole : i + block_size;
    for (; i < end; i += lanes)
      for (int lane = 0; lane < lanes; ++lane) sum[lane] += of(double(x[i + lane]) * scale);
  }
  for (int lane = 0; i + lane < n; ++lane) rest[lane] = of(double(x[i + lane]) * scale);
  return folded(sum, rest);
}

template <class T>
constexpr Sums sums() {
  return {sum_of<Plain, T>, sum_of<Square, T>, sum_of<Magnitude, T>, sum_of<IsZero, T>,
          sum_of<IsAboveOne, T>};
}
