// Dropout of activations, and its masks.
#pragma once
#include "../tensors/tensors.hpp"

namespace fastopt {

// Streams::param = Streams::grad / keep_prob where the decisions keep, else 0; without a gradient,
// in place. The decisions are those of the stream, or of Streams::mask where a tensor has one.
void drop_elements(const Tensors& list, const DropoutStream& stream, int threads);

// Writes the decisions on `elements` elements: a bit each, or a byte each, 0 or 1.
void write_mask(const DropoutStream& stream, std::int64_t elements, bool packed, std::uint8_t* mask,
                int threads);

}  // namespace fastopt
