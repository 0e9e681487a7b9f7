// Means of squares by rows and by columns, of rules that keep no more of them (Adafactor).
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "../../block.hpp"
#include "../../rules/option.hpp"
#include "layout.hpp"

namespace fastopt {

// Of which row and which column each element of a tensor is. Rows are those along the last axis,
// columns those along the one before; an array with fewer axes has a row for each element, and no
// columns.
class RowsAndColumns {
 public:
  RowsAndColumns(int axes, const std::int64_t* shape, const std::int64_t* strides);

  std::int64_t rows, columns;  // how many there are, in all matrices together
  std::int64_t row_size, column_size;
  void *inverse_rows = nullptr, *inverse_columns = nullptr;  // of roots: room for a step

  bool is_whole() const { return columns == 0; }

  // In how many parts the elements are added up, each by itself: in one, or in as many as have sums
  // that are few beside the elements.
  int parts(std::int64_t size) const;

  // Calls visit(from, count, row, row_stride, column, column_stride) for the elements [begin, end),
  // run by run along the last axis in the order of memory.
  template <class Visit>
  void for_each_run(std::int64_t begin, std::int64_t end, const Visit& visit) const {
    Position position(axes_, shape_, begin);
    for (std::int64_t at = begin; at < end;) {
      const std::int64_t left = position.left_in_run(), count = left < end - at ? left : end - at;
      visit(at - begin, count, first_row_ + position.offset(row_strides_), row_strides_[axes_ - 1],
            first_column_ + position.offset(column_strides_), column_strides_[axes_ - 1]);
      position.advance(count);
      at += count;
    }
  }

 private:
  void add_axis(std::int64_t length, std::int64_t row_stride, std::int64_t column_stride,
                bool backwards);

  int axes_ = 0;
  std::int64_t shape_[Layout::max_axes], row_strides_[Layout::max_axes],
      column_strides_[Layout::max_axes];
  std::int64_t first_row_ = 0, first_column_ = 0;
};

// What one part of a tensor adds up: the squares of each row and of each column, and, where not all
// elements take part, how many do.
struct FactorSums {
  double *rows = nullptr, *columns = nullptr, *row_counts = nullptr, *column_counts = nullptr;

  static std::int64_t room(const RowsAndColumns& of, bool counts) {
    return (counts ? 2 : 1) * (of.rows + of.columns);
  }

  static FactorSums in(double* room, const RowsAndColumns& of, bool counts) {
    FactorSums sums{room, room + of.rows};
    if (!counts) return sums;
    sums.row_counts = sums.columns + of.columns;
    sums.column_counts = sums.row_counts + of.rows;
    return sums;
  }
};

// Takes over the means of a tensor from the sums of its parts, which lie one after the other, and
// sets the inverses of the roots: those of a row and a column multiplied are that of the estimate.
template <class T>
void advance_factors(const RowsAndColumns& of, const FactoredMoment& moment, int parts, bool counts,
                     double* sums, T* rows, T* columns);

// Takes over the square of one element, or the mean of several.
template <class T>
T advanced(const FactoredMoment& moment, T mean, double square) {
  const T next = T(moment.beta2 * mean + moment.one_minus_beta2 * (square + moment.added));
  constexpr T smallest_normal = std::numeric_limits<T>::min();
  return std::fabs(next) < smallest_normal ? T(0) : next;
}

}  // namespace fastopt
