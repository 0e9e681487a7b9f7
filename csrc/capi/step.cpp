// One step of an optimizer, as csrc/step/ makes those of Python.
#include <algorithm>
#include <cmath>

#include "checks.hpp"
#include "functions.hpp"
#include "optimizer.hpp"

namespace fastopt::c {
namespace {

constexpr int mask_streams[2] = {Streams::mask, Streams::update_mask};

class StepOfArrays {
 public:
  StepOfArrays(fastopt_optimizer& of, void* const* grads) : of_(of), grads_(grads) {}

  // Throws before anything is changed.
  int run() {
    collect();
    check_numbers();
    Gradients& gradients = of_.gradients;
    gradients.scale = {of_.shared.grad_scale};
    set_terms();
    const bool goes_on =
        !of_.shared.need_norms() ||
        gradients.measure(of_.shared, of_.tensors, of_.updates.data(), keep_scale(), drop(),
                          threads(), /*refuses_large_squares=*/true);
    if (of_.shared.need_norms()) of_.grad_norm = gradients.norm(of_.shared);
    if (!goes_on) {
      if (of_.shared.zero_grads != 0) clear_gradients(of_.tensors, threads());
      return FASTOPT_SKIPPED;
    }
    fold();
    of_.room.make_for(of_.tensors, of_.updates.data());
    for (const Tensor& tensor : of_.tensors.all) ++of_.arrays[tensor.entry].count;
    launch(of_.tensors, of_.updates.data(), of_.shared.flush_denormals != 0, threads(), of_.room);
    return FASTOPT_OK;
  }

  void check() {
    collect();
    check_numbers();
    check_memory();
  }

 private:
  using Array = fastopt_optimizer::Array;

  int threads() const {
    return of_.shared.threads > 0 ? static_cast<int>(of_.shared.threads)
                                  : fastopt::get_num_threads();
  }
  const DropoutStream* drop() const { return of_.drop ? &*of_.drop : nullptr; }
  double keep_scale() const {
    return of_.drop ? of_.drop->keep_scale() : has_mask_ ? 1 / of_.shared.keep_prob : 1;
  }
  bool takes_part(std::size_t i) const { return of_.arrays[i].size > 0 && grads_[i]; }

  [[noreturn]] void refuse(const std::string& why) const {
    throw Refusal{of_.function + ": " + why};
  }

  void collect() {
    of_.tensors.clear();
    of_.gradients.list.clear();
    of_.parts.clear();
    for (const Array& array : of_.arrays) {
      has_mask_ = has_mask_ || array.masks[FASTOPT_MASK];
      has_average_ = has_average_ || array.average;
    }
    written_ = 1u << Streams::param;
    if (of_.shared.zero_grads != 0) written_ |= 1u << Streams::grad;
    for (std::size_t i = 0; i < of_.arrays.size(); ++i)
      if (takes_part(i)) collect(i);
  }

  void collect(std::size_t i) {
    Array& array = of_.arrays[i];
    Tensor tensor{};
    tensor.size = array.size;
    tensor.dtype = of_.dtype;
    tensor.layout = -1;
    tensor.entry = static_cast<int>(i);
    tensor.group = part_of(array);
    tensor.streams.at[Streams::param] = array.param;
    tensor.streams.at[Streams::grad] = grads_[i];
    tensor.streams.at[Streams::ema] = array.average;
    if (array.average) written_ |= 1u << Streams::ema;
    int stream = Streams::first_state;
    for (int k = 0; k < of_.rule.flat_arrays(); ++k) {
      if (!array.state[k]) continue;
      if (k < of_.rule.flat_factors()) {
        tensor.factors[k] = array.state[k];
        continue;
      }
      written_ |= 1u << stream;
      tensor.streams.at[stream++] = array.state[k];
    }
    for (int k = 0; k < of_.rule.scalars.count; ++k) tensor.numbers[k] = &array.numbers[k];
    for (int kind = 0; kind < 2; ++kind) {
      if (!array.masks[kind]) continue;
      tensor.streams.at[mask_streams[kind]] = const_cast<void*>(array.masks[kind]);
      if (array.packed[kind]) tensor.packed |= 1u << mask_streams[kind];
    }
    if (array.has_own_penalties) {
      of_.penalties[i] = penalties_of(array);
      tensor.penalties = &of_.penalties[i];
    }
    of_.tensors.add_flat(tensor, of_.rule.factors.count > 0);
    if (of_.shared.need_norms()) add_gradient(tensor);
  }

  void add_gradient(const Tensor& tensor) {
    Tensor alone = tensor;
    alone.streams = {};
    alone.streams.at[Streams::param] = tensor.streams.at[Streams::grad];
    for (const int stream : mask_streams) alone.streams.at[stream] = tensor.streams.at[stream];
    of_.gradients.list.add(alone, sum_chunk);
  }

  Penalties penalties_of(const Array& array) const {
    const auto own_or = [](double own, double common) { return std::isnan(own) ? common : own; };
    const Terms& terms = of_.terms;
    return {own_or(array.own.l1, terms.l1), own_or(array.own.l2, terms.l2),
            own_or(array.own.weight_decay, terms.weight_decay),
            own_or(array.own.l1_prox, terms.l1_prox)};
  }

  int part_of(const Array& array) {
    const RuleVariant* variant = variant_of(of_.rule, array.state);
    const auto found = std::find_if(of_.parts.begin(), of_.parts.end(), [&](const auto& part) {
      return part.count == array.count && part.variant == variant;
    });
    const auto number = static_cast<int>(found - of_.parts.begin());
    if (found == of_.parts.end()) of_.parts.push_back({array.count, variant});
    return number;
  }

  void check_numbers() const {
    const Shared& shared = of_.shared;
    const std::string why =
        why_not_together(shared, {has_mask_, of_.drop.has_value(), has_average_}, /*none=*/"NULL");
    if (!why.empty()) refuse(why);
    for (const Tensor& tensor : of_.tensors.all) {
      const Array& array = of_.arrays[tensor.entry];
      check_needs(of_.function, of_.rule, of_.options, array.state);
      if (!tensor.penalties) continue;
      const Misfit misfit = find_misfit(*tensor.penalties, of_.options[0], of_.dtype);
      if (misfit.name) refuse(text_of(misfit, of_.dtype) + of_.name("params", tensor.entry));
    }
    const bool in_common = of_.rule.in_common(of_.options);
    const Tensor* furthest = of_.tensors.furthest([&](const Tensor& tensor) {
      return in_common ? static_cast<double>(of_.parts[tensor.group].count) : -1.0;
    });
    int seen = 0;  // of the parts, which tensors begin one after the other
    for (const Tensor& tensor : of_.tensors.all) {
      const auto& part = of_.parts[tensor.group];
      const bool is_first = tensor.group == seen;
      seen += is_first;
      if (is_first) check_count(of_.function, "state.step", part.count);
      if (!is_first && of_.rule.scalars.count == 0) continue;
      const Misfit misfit =
          find_misfit({of_.rule, *part.variant, of_.options, static_cast<double>(part.count + 1),
                       of_.arrays[(furthest ? *furthest : tensor).entry].numbers, shared.grad_scale,
                       keep_scale(), of_.terms.penalties()},
                      of_.dtype);
      if (misfit.name) refuse(text_of(misfit, of_.dtype) + of_.name("params", tensor.entry));
    }
  }

  void check_memory() const {
    Memory memory(of_.function);
    const std::int64_t size = size_of(of_.dtype);
    for (const Tensor& tensor : of_.tensors.all) {
      const int i = tensor.entry;
      const Array& array = of_.arrays[i];
      const std::int64_t bytes = array.size * size;
      memory.add(of_.name("params", i), array.param, bytes, size, true);
      memory.add(of_.name("grads", i), grads_[i], bytes, size, of_.shared.zero_grads != 0);
      for (int kind = 0; kind < 2; ++kind) {
        const std::int64_t mask_bytes = array.packed[kind] ? (array.size + 7) / 8 : array.size;
        if (array.masks[kind])
          memory.add(of_.name(kind == FASTOPT_MASK ? "mask" : "update_mask", i), array.masks[kind],
                     mask_bytes, 1, false);
      }
      if (array.average) memory.add(of_.name("ema", i), array.average, bytes, size, true);
      for (int k = 0; k < of_.rule.flat_arrays(); ++k)
        if (array.state[k] || k < of_.rule.flat_required())
          memory.add("state." + of_.name(of_.rule.flat_array(k).name, i), array.state[k], bytes,
                     size, true);
    }
    memory.check_apart();
  }

  void set_terms() {
    of_.updates.resize(of_.parts.size());
    for (Update& update : of_.updates) {
      update.terms = of_.terms;
      update.ema_decay = of_.shared.ema_decay;
    }
  }

  void fold() {
    const StepScale common{of_.shared, of_.gradients, keep_scale(), drop(), written_};
    bool has[dtypes] = {};
    has[int(of_.dtype)] = true;
    for (std::size_t number = 0; number < of_.parts.size(); ++number) {
      const auto& [count, variant] = of_.parts[number];
      Update& update = of_.updates[number];
      prepare(update, variant, common);
      update.fold(of_.rule, of_.options, static_cast<double>(count + 1), has);
      update.note_what_is_absent();
    }
  }

  fastopt_optimizer& of_;
  void* const* grads_;
  unsigned written_ = 0;
  bool has_mask_ = false, has_average_ = false;
};

}  // namespace

int step(fastopt_optimizer* optimizer, void* const* grads) noexcept {
  return guarded([&] {
    const int code = StepOfArrays(*optimizer, grads).run();
    if (code == FASTOPT_OK && optimizer->drop) optimizer->drop->offset += optimizer->arrays.size();
    return code;
  });
}

int check_step(fastopt_optimizer* optimizer, void* const* grads) noexcept {
  return guarded([&] {
    if (!grads && !optimizer->arrays.empty())
      throw Refusal{optimizer->function + ": grads is NULL"};
    StepOfArrays(*optimizer, grads).check();
    return FASTOPT_OK;
  });
}

double grad_norm(const fastopt_optimizer* optimizer) noexcept { return optimizer->grad_norm; }

int64_t nonfinite_array(const fastopt_optimizer* optimizer) noexcept {
  return optimizer->gradients.nonfinite_entry();
}

}  // namespace fastopt::c
