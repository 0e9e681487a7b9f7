// Sums over all elements of every tensor, in a fixed order.
#pragma once
#include <initializer_list>
#include <vector>

#include "../launch.hpp"

namespace fastopt {

// Every tensor is cut into chunks of so many elements, and the sums of the chunks are added in
// their order: the same bits for any number of threads. Lists to be summed must have
// been filled with this alignment.
constexpr std::int64_t sum_chunk = 4096;

class TensorSums {
 public:
  using Sum = double (*Sums::*)(const void* x, double scale, std::int64_t n);

  // Sums the arrays that a list has in Streams::param: all of these sums in one pass over memory.
  // Elements that a mask of their tensor or `drop` leaves out count as zero.
  void measure(const Tensors& list, int threads, std::initializer_list<Sum> sums,
               const DropoutStream* drop = nullptr);

  // The same again for some tensors, each element first multiplied by the scale of its tensor;
  // where that is zero, the sums stay as they are.
  void measure_again(const Tensors& list, int threads, std::initializer_list<Sum> sums,
                     const DropoutStream* drop, const std::vector<double>& scales);

  // The results of sum number `sum`, in the order of the list.
  const std::vector<double>& of_tensors(int sum = 0) const { return of_tensors_[sum]; }

 private:
  static constexpr int max_sums = 2;

  void run(const Tensors& list, int threads, std::initializer_list<Sum> sums,
           const DropoutStream* drop, const double* scales);

  // Kept to spare allocations.
  std::vector<double> of_chunks_[max_sums], of_tensors_[max_sums];
};

}  // namespace fastopt
