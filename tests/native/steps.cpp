// Steps of every rule that is in the table.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "../../csrc/engine/launch.hpp"
#include "../../csrc/engine/tensors/masks.hpp"
#include "cases.hpp"
#include "checksums.hpp"
#include "values.hpp"

namespace native {
namespace {

using namespace fastopt;

constexpr int groups = 2, steps = 3;

// One rule with those of the optional arrays of its state that have a bit in `variant`, the first
// of them the highest.
struct Kind {
  const Rule& rule;
  int variant;
  Dtype dtype;
  bool realistic;
  unsigned flags;  // a bit for each option that is a flag, but for scaled_prox

  bool has_array(std::string_view name) const {
    for (int i = 0; i < rule.arrays.count; ++i)
      if (rule.arrays[i].name == name)
        return i < rule.required || variant >> (rule.arrays.count - 1 - i) & 1;
    return false;
  }

  int states() const {
    int count = 0;
    for (const StateArray& array : rule.arrays) count += has_array(array.name);
    return count;
  }

  std::string name() const {
    std::string text = std::string(rule.name) + " (";
    for (const StateArray& array : rule.arrays)
      if (has_array(array.name)) text += (text.back() == '(' ? "" : " ") + std::string(array.name);
    return text + ") " + name_of(dtype) + (realistic ? " realistic " : " ") + std::to_string(flags);
  }
};

int flags_of(const Rule& rule) {
  int count = 0;
  for (const Option& option : rule.options) count += option.range == Range::flag;
  return count - (rule.scaled_prox >= 0);
}

// The exact ones are short in binary, and so are their first powers: however a C library computes
// powers, these come out the same.
double value_of(const Option& option, int place, bool realistic) {
  const bool odd = place % 2 != 0;
  switch (option.range) {
    case Range::non_negative:
    case Range::denominator:
    case Range::positive:
      if (place == 0) return realistic ? 0.01 : 0.0625;  // lr
      return realistic ? 1e-8 : 0x1p-20;
    case Range::non_positive:
      return realistic ? -0.8 : 0;
    case Range::count:
      return 5;
    case Range::finite:
      return realistic ? -0.3 : -0.25;
    default:  // shares
      return realistic ? (odd ? 0.9 : 0.999) : (odd ? 0.5 : 0.875);
  }
}

std::array<double, Rule::max_options> options_of(const Kind& kind, const Case& given) {
  std::array<double, Rule::max_options> options{};
  int flag = 0;
  for (int i = 0; i < kind.rule.options.count; ++i) {
    const Option& option = kind.rule.options[i];
    if (option.needs && !kind.has_array(option.needs)) continue;
    if (i == kind.rule.scaled_prox)
      options[i] = given.scaled_prox;
    else if (option.range == Range::flag)
      options[i] = kind.flags >> flag++ & 1;
    else
      options[i] = value_of(option, i, kind.realistic);
  }
  return options;
}

constexpr std::array<Wide, tensors> scales_of_tensors() {
  std::array<Wide, tensors> scales{};
  for (int i = 0; i < tensors; ++i) scales[i].value = 0.3 + 0.2 * i;
  scales[1].exponent = -1080;  // takes two multiplications
  return scales;
}

// The arrays of all tensors and the list of them.
class Problem {
 public:
  Problem(const Kind& kind, const Case& given, bool strided)
      : kind_(kind), given_(given), drop_(0.3, 0x123456789ABCDEF, 0xFEDCBA987654321) {
    const auto has = [&](int stream) {
      if (stream == Streams::mask) return given.mask == Masks::bytes || given.mask == Masks::bits;
      if (stream == Streams::update_mask) return given.update_mask != Masks::none;
      if (stream == Streams::ema) return given.ema;
      return stream < Streams::first_state + kind.states();
    };
    for (int tensor = 0; tensor < tensors; ++tensor)
      for (int stream = 0; stream < Streams::count; ++stream)
        if (has(stream))
          arrays_[tensor][stream] = std::make_unique<Array>(
              item_size(stream, kind.dtype), shapes[tensor], order_of(tensor, stream, strided));
    for (int tensor = 0; tensor < tensors; ++tensor) {
      own_[tensor] = {tensor & 2 ? 0.01 : 0, tensor & 4 ? 0.02 : 0, tensor & 1 ? 0.03 : 0, 0};
      for (int stream = 0; stream < Streams::count; ++stream) fill(tensor, stream);
      add(tensor, strided);
    }
  }

  void run(int threads) {
    for (int step = 1; step <= steps; ++step) {
      for (int tensor = 0; tensor < tensors; ++tensor) {
        const char* grads = values_of(kind_.dtype).at(Streams::grad, tensor, step);
        arrays_[tensor][Streams::grad]->fill(grads);
      }
      for (int group = 0; group < groups; ++group) prepare(group, step);
      expect_workers();  // asked twice in quick succession, the pool believes that they soon are
      room_.make_for(list_, updates_);
      if (!room_.stacks.empty()) {  // directions are what they are: here is no product of matrices
        directions_.resize(room_.bytes_of_stacks());
        room_.place_stacks(list_, directions_.data());
        launch_directions(list_, updates_, /*flush_denormals*/ false, threads, room_);
      }
      launch(list_, updates_, /*flush_denormals*/ false, threads, room_);
    }
  }

  Checksum checksum() const {
    Checksum sum;
    for (const auto& tensor : arrays_)
      for (int stream = 0; stream < Streams::count; ++stream)
        if (tensor[stream] && !Streams::is_mask(stream)) tensor[stream]->add_to(sum, kind_.dtype);
    for (const auto& tensor : factors_)
      for (const std::vector<char>& means : tensor)
        for (std::size_t at = 0; at < means.size(); at += size_of(kind_.dtype))
          kind_.dtype == Dtype::float32 ? add_number<float>(sum, means.data() + at)
                                        : add_number<double>(sum, means.data() + at);
    return sum;
  }

 private:
  template <class T>
  static void add_number(Checksum& sum, const char* at) {
    T number;
    std::memcpy(&number, at, sizeof number);
    sum.add(number);
  }

  static Order order_of(int tensor, int stream, bool strided) {
    if (!strided) return (tensor + stream) % 3 == 0 ? Order::shifted : Order::contiguous;
    return Order((tensor + 2 * stream) % int(Order::count));
  }

  void fill(int tensor, int stream) {
    if (!arrays_[tensor][stream]) return;
    arrays_[tensor][stream]->fill(values_of(kind_.dtype).at(stream, tensor));
    const Masks masks = stream == Streams::mask ? given_.mask : given_.update_mask;
    if (!Streams::is_mask(stream) || masks != Masks::bits) return;
    const std::int64_t size = shapes[tensor].size();
    auto& bits = bits_[tensor][stream == Streams::mask];
    bits.resize(packed_size(size));
    const char* bytes = values_of(kind_.dtype).at(stream, tensor);
    pack_bits(reinterpret_cast<const std::uint8_t*>(bytes), size, bits.data());
  }

  void* data_of(int tensor, int stream) {
    auto& bits = bits_[tensor][stream == Streams::mask];
    const bool packed = Streams::is_mask(stream) && !bits.empty();
    return packed ? bits.data() : arrays_[tensor][stream]->data();
  }

  void add(int number, bool strided) {
    Tensor tensor{};
    tensor.size = shapes[number].size();
    tensor.dtype = kind_.dtype;
    tensor.layout = -1;
    tensor.entry = number;
    tensor.group = number % groups;
    if (given_.mask == Masks::bits) tensor.packed |= 1u << Streams::mask;
    if (given_.update_mask == Masks::bits) tensor.packed |= 1u << Streams::update_mask;
    if (given_.own_penalties) tensor.penalties = &own_[number];
    for (int i = 0; i < kind_.rule.scalars.count; ++i) {
      scalars_[number][i] = kind_.rule.scalars[i].start;
      tensor.numbers[i] = &scalars_[number][i];
    }
    const std::int64_t shape[] = {shapes[number].rows, shapes[number].columns};
    for (int i = 0; i < kind_.rule.factors.count; ++i) {
      std::vector<char>& means = factors_[number][i];
      means.resize(shape[i] * size_of(kind_.dtype));
      std::memcpy(means.data(), values_of(kind_.dtype).at(Streams::first_state, number),
                  means.size());
      tensor.factors[i] = means.data();
    }
    StridedArray in_memory[Streams::count];
    int count = 0;
    for (int stream = 0; stream < Streams::count; ++stream)
      if (const Array* array = arrays_[number][stream].get()) {
        tensor.streams.at[stream] = data_of(number, stream);
        in_memory[count++] = {stream, data_of(number, stream), array->strides()};
      }
    const DropoutStream* drop = given_.mask == Masks::generated ? &drop_ : nullptr;
    Tensor& added = strided ? list_.add(tensor, 2, shape, in_memory, count, block_size, drop)
                            : list_.add(tensor);
    const bool directs = kind_.rule.variants[kind_.variant].has_directions();
    if (tensor.factors[0] || directs) list_.note_factors(added, 2, shape, in_memory[0].strides);
  }

  // The groups have different learning rates and counts of steps.
  void prepare(int group, int step) {
    Update& update = updates_[group];
    std::array<double, Rule::max_options>& options = options_[group];
    options = options_of(kind_, given_);
    if (group == 1) options[0] /= 2;
    const bool generated = given_.mask == Masks::generated;
    update.rule = &kind_.rule.variants[kind_.variant];
    update.terms = given_.terms;
    update.penalties = given_.terms.penalties();
    update.zero_grads = given_.zero_grads;
    update.ema_decay = 0.9;
    update.grad_scale = {given_.terms.maximize != 0 ? -given_.grad_scale : given_.grad_scale};
    update.keep_scale = generated ? drop_.keep_scale() : 1 / 0.7;
    update.drop = generated ? &drop_ : nullptr;
    update.tensor_scales = given_.tensor_scales ? scales_.data() : nullptr;
    update.written = 1u << Streams::param;
    if (given_.ema) update.written |= 1u << Streams::ema;
    if (given_.zero_grads) update.written |= 1u << Streams::grad;
    for (int state = 0; state < kind_.states(); ++state)
      update.written |= 1u << (Streams::first_state + state);
    bool has[dtypes] = {};
    has[int(kind_.dtype)] = true;
    update.fold(kind_.rule, options.data(), step + group, has);
    update.note_what_is_absent();
  }

  const Kind& kind_;
  const Case& given_;
  const DropoutStream drop_;
  const std::array<Wide, tensors> scales_ = scales_of_tensors();
  std::unique_ptr<Array> arrays_[tensors][Streams::count];
  std::vector<std::uint8_t> bits_[tensors][2];
  Penalties own_[tensors];
  Tensors list_;
  Update updates_[groups];
  std::array<double, Rule::max_options> options_[groups];
  double scalars_[tensors][Rule::max_scalars];
  std::vector<char> factors_[tensors][Streams::max_factors];  // means of rows and of columns
  Room room_;
  std::vector<char> directions_;
};

void add_case(Lines& lines, int threads, const Kind& kind, const Case& given) {
  if (given.scaled_prox && kind.rule.scaled_prox < 0) return;
  const std::string what = kind.name() + " " + given.name;
  Problem contiguous(kind, given, /*strided*/ false);
  contiguous.run(threads);
  const Checksum sum = contiguous.checksum();
  lines.add(what, sum);
  if (threads < most_threads) return;  // emulated, these take longer than all else
  // Sums over an array are taken in the order of its memory, as norms are.
  const RuleVariant& variant = kind.rule.variants[kind.variant];
  if (variant.sums > 0 || variant.has_estimate()) return;
  Problem strided(kind, given, /*strided*/ true);
  strided.run(threads);
  require(sum.value() == strided.checksum().value(),
          what + ": arrays that are not contiguous come out differently");
}

bool is_one_or_none(unsigned flags) { return (flags & (flags - 1)) == 0; }

}  // namespace

// Terms know no rule: all of them come around a rule of each kind, and the last, which are many at
// once, around all others.
bool is_one_of_its_kind(const Rule& rule) {
  constexpr std::string_view kinds[] = {"sgd",       "momentum", "adam",    "rmsprop", "nadam",
                                        "adafactor", "lamb",     "prodigy", "adan"};
  return std::find(std::begin(kinds), std::end(kinds), rule.name) != std::end(kinds);
}

void add_steps(Lines& lines, int threads, bool realistic) {
  for (const Rule& rule : all_rules()) {
    const int variants = 1 << (rule.arrays.count - rule.required);
    const unsigned all = (1u << flags_of(rule)) - 1;
    for (int variant = 0; variant < variants; ++variant)
      for (const Dtype dtype : {Dtype::float32, Dtype::float64}) {
        Kind kind{rule, variant, dtype, realistic, 0};
        for (; kind.flags <= all; ++kind.flags)
          if (kind.flags == all || is_one_or_none(kind.flags))
            add_case(lines, threads, kind, plain());
        if (realistic) continue;
        const std::vector<Case> around = cases();
        for (std::size_t i = is_one_of_its_kind(rule) ? 0 : around.size() - 2; i < around.size();
             ++i) {
          kind.flags = kind.flags == 0 ? all : 0;
          add_case(lines, threads, kind, around[i]);
        }
      }
  }
}

}  // namespace native
