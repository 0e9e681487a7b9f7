// From tensors to the work of threads: over which pieces, on how many.
#pragma once
#include "parallel.hpp"
#include "update.hpp"

namespace fastopt {

// Room for what tensors have for themselves: the rule, where their numbers or sums over them are
// folded into it; and what a first phase sums up. It is kept by the caller to spare allocations.
struct Room {
  // A part of a tensor whose squares are added up by rows and columns.
  struct Part {
    const Tensor* tensor;
    int number, of;
    std::int64_t begin, end;    // elements
    RowsAndColumns::Rows rows;  // that it has room for: the first part all
    std::size_t sums;           // where its sums begin, in `of_factors`
  };

  // Matrices of one shape that lie one behind the other, for the same rule.
  struct Stack {
    int group;
    Dtype dtype;
    std::int64_t matrices, rows, columns;
    std::int64_t offset;  // in bytes

    std::int64_t bytes() const { return matrices * rows * columns * size_of(dtype); }
  };

  std::vector<Folded> of_tensors;
  std::vector<double> of_blocks;  // RuleVariant::max_sums for each
  std::vector<Part> parts;
  std::vector<double> of_factors;  // sums, and after those of each tensor what is made of them

  // Of the tensors whose rule has directions, and the numbers of these, stack by stack.
  std::vector<Stack> stacks;
  std::vector<int> stacked;

  // To be called before `launch`, which then needs no memory but that of the stacks.
  void make_for(Tensors& list, const Update* groups);

  std::int64_t bytes_of_stacks() const {
    return stacks.empty() ? 0 : stacks.back().offset + stacks.back().bytes();
  }
  void place_stacks(Tensors& list, void* memory) const;

 private:
  void stack_matrices(const Tensors& list, const Update* groups);
};

// Writes the directions of all tensors that have some to RowsAndColumns::direction, of which others
// may make something before `launch` takes it. Nothing else is changed.
void launch_directions(const Tensors& list, const Update* groups, bool flush_denormals, int threads,
                       Room& room);

// Updates all tensors, each as its group is to be. Rules that want sums over each array have two
// phases: the first adds them up, block by block and then in the order of blocks, in double; the
// second computes anew what it needs besides, which costs less than to store it. Before them, rules
// with estimates by rows and columns add up their squares, unless a tensor goes by rows.
void launch(const Tensors& list, const Update* groups, bool flush_denormals, int threads,
            Room& room);

// Sets all gradients to zero, as a step with `zero_grads` leaves them.
void clear_gradients(const Tensors& list, int threads);

// Runs body over an index space, in pieces that begin at multiples of `unit`, on as many of the
// threads as pay.
void run_chunks(IndexSpace space, std::int64_t unit, int threads, RangeBody body,
                const void* context);

}  // namespace fastopt
