// Means of squares by rows and by columns, or by rows alone, of rules that keep no more of them
// (Adafactor, row-wise Adagrad).
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
  RowsAndColumns(int axes, const std::int64_t* shape, const std::int64_t* strides,
                 bool has_columns);

  std::int64_t rows, columns;  // how many have means, in all matrices together
  std::int64_t row_size, column_size;
  int axes;                                                  // of the array
  std::int64_t length;                                       // of the first axis
  void *inverse_rows = nullptr, *inverse_columns = nullptr;  // of roots: room for a step
  void* direction = nullptr;  // the same, of the array as it is in C order

  bool is_whole() const { return axes < 2; }

  // Whether rows are all that is kept, and lie in memory one behind the other.
  bool rows_in_order() const;

  // In how many parts the elements are added up, each by itself: in one, or in as many as have sums
  // that are few beside the elements.
  int parts(std::int64_t size) const;

  // Where a part begins, or the last one ends. It is where a block begins, and where rows are in
  // order, no row is in two parts: its sum does not depend on where it is.
  std::int64_t edge(int part, std::int64_t size) const;

  // Some rows that lie side by side.
  struct Rows {
    std::int64_t first, count;
  };

  // Those that the elements [begin, end) are of, and others where rows do not lie in their order or
  // columns are kept, too.
  Rows rows_of(std::int64_t begin, std::int64_t end) const;

  // Goes on from an element in the order of memory, run by run along the last axis. It goes nowhere
  // where there are no rows and columns.
  class Runs {
   public:
    Runs(const RowsAndColumns* of, std::int64_t begin)
        : of_(of), position_(of ? of->kept_ : 0, of ? of->shape_ : nullptr, begin) {}

    // Calls visit(from, count, row, row_stride, column, column_stride) for the next n elements.
    template <class Visit>
    void next(std::int64_t n, const Visit& visit) {
      const int last = of_->kept_ - 1;
      for (std::int64_t from = 0; from < n;) {
        const std::int64_t left = position_.left_in_run(),
                           count = left < n - from ? left : n - from;
        visit(from, count, of_->first_row_ + position_.offset(of_->row_strides_),
              of_->row_strides_[last], of_->first_column_ + position_.offset(of_->column_strides_),
              of_->column_strides_[last]);
        position_.advance(count);
        from += count;
      }
    }

    // The same of where they are in C order: visit(from, count, place, stride).
    template <class Visit>
    void next_places(std::int64_t n, const Visit& visit) {
      next(n, [&](auto from, auto count, auto row, auto by_row, auto column, auto by) {
        const std::int64_t size = of_->row_size;
        visit(from, count, row * size + column % size, by_row * size + (by_row == 0 ? by : 0));
      });
    }

   private:
    const RowsAndColumns* of_;
    Position position_;
  };

 private:
  std::int64_t unit() const;  // at whose multiples parts begin
  void add_axis(std::int64_t size, std::int64_t row_stride, std::int64_t column_stride,
                bool backwards);

  int kept_ = 0;
  std::int64_t shape_[Layout::max_axes], row_strides_[Layout::max_axes],
      column_strides_[Layout::max_axes];
  std::int64_t first_row_ = 0, first_column_ = 0;
};

// What one part of a tensor adds up: the squares of each row and of each column, and, where not all
// elements take part, how many do.
struct FactorSums {
  double *rows = nullptr, *columns = nullptr, *row_counts = nullptr, *column_counts = nullptr;

  static std::int64_t room(std::int64_t rows, std::int64_t columns, bool counts) {
    return (counts ? 2 : 1) * (rows + columns);
  }

  // Room for these rows alone; they have their own numbers all the same.
  static FactorSums in(double* room, RowsAndColumns::Rows rows, std::int64_t columns, bool counts) {
    FactorSums sums{room - rows.first, room + rows.count};
    if (!counts) return sums;
    sums.row_counts = sums.columns + columns - rows.first;
    sums.column_counts = sums.columns + columns + rows.count;
    return sums;
  }
};

// Takes over the means of a tensor from its sums, and sets the inverses of the roots: those of a
// row and a column multiplied are that of the estimate.
template <class T>
void advance_factors(const RowsAndColumns& of, const FactoredMoment& moment, const FactorSums& all,
                     T* rows, T* columns);

// Takes over the square of one element, or the mean of several.
template <class T>
T advanced(const FactoredMoment& moment, T mean, double square) {
  const T next = T(moment.beta2 * mean + moment.one_minus_beta2 * (square + moment.added));
  constexpr T smallest_normal = std::numeric_limits<T>::min();
  return std::fabs(next) < smallest_normal ? T(0) : next;
}

}  // namespace fastopt
