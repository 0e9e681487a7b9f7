// A rule with two phases against loops that are written out.
#include <cmath>
#include <string>
#include <vector>

#include "../../csrc/engine/launch.hpp"
#include "checksums.hpp"
#include "numbers.hpp"

namespace native {
namespace {

using namespace fastopt;

std::vector<double> some(std::int64_t size) {
  static Numbers numbers;
  std::vector<double> values(size);
  for (double& value : values) value = numbers.next();
  return values;
}

bool close(double a, double b) { return std::fabs(a - b) <= 1e-12 * (1 + std::fabs(b)); }

}  // namespace

// Two steps on one array whose elements take part or not, with decay before the rule.
void check_two_phases(int threads) {
  const Rule& rule = *find_rule("trust");
  constexpr std::int64_t size = 30011;
  constexpr double lr = 0.01, beta = 0.9, weight_decay = 0.1;
  std::vector<double> param = some(size), grad = some(size), states[6], expected = param;
  std::vector<std::uint8_t> takes_part(size);
  for (std::int64_t i = 0; i < size; ++i) takes_part[i] = i % 3 != 0;
  for (auto& state : states) state = some(size);
  std::vector<double> expected_states[6];
  for (int s = 0; s < 6; ++s) expected_states[s] = states[s];
  double product = 1, scalar = 1;
  Room room;
  for (int t = 1; t <= 2; ++t) {
    Tensors list;
    Tensor tensor{};
    tensor.size = size;
    tensor.dtype = Dtype::float64;
    tensor.layout = -1;
    tensor.streams.at[Streams::param] = param.data();
    tensor.streams.at[Streams::grad] = grad.data();
    tensor.streams.at[Streams::update_mask] = takes_part.data();
    for (int s = 0; s < 6; ++s) tensor.streams.at[Streams::first_state + s] = states[s].data();
    tensor.numbers[0] = &scalar;
    list.add(tensor);
    Update update{};
    update.rule = &rule.variants[0];
    update.terms = {0, 0, weight_decay, 0, 0, 0, 0, Terms::never};
    update.penalties = update.terms.penalties();
    update.grad_scale = {1};
    update.keep_scale = 1;
    const double options[] = {lr, beta};
    const bool has[] = {false, true};
    update.fold(rule, options, t, has);
    update.note_what_is_absent();
    room.make_for(list, &update);
    launch(list, &update, false, threads, room);

    product *= beta;
    require(scalar == product, "the number of the state did not advance");
    double squares = 0, of_directions = 0;
    std::vector<double> directions(size);
    for (std::int64_t i = 0; i < size; ++i) {
      if (!takes_part[i]) continue;
      expected[i] -= lr * weight_decay * expected[i];
      double x = grad[i];
      for (auto& state : expected_states) x = state[i] = beta * state[i] + (1 - beta) * x;
      directions[i] = grad[i] * product + x;
      squares += expected[i] * expected[i];
      of_directions += directions[i] * directions[i];
    }
    for (std::int64_t i = 0; i < size; ++i)
      expected[i] -= lr * std::sqrt(squares / of_directions) * directions[i];
  }
  for (std::int64_t i = 0; i < size; ++i) {
    require(close(param[i], expected[i]), "two phases: element " + std::to_string(i));
    for (int s = 0; s < 6; ++s)
      require(close(states[s][i], expected_states[s][i]), "two phases: state " + std::to_string(s));
  }
}

}  // namespace native
