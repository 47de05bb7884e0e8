// Floating-point values of 0 to 255 to bytes.
#pragma once

#include <cstdint>

#include "wide.h"

namespace shardtools {

// What is added before the fraction is cut off: the published code cuts off, a clean image is rounded.
inline float rounding_of(bool clean) { return clean ? 0.5f : 0.0f; }

SHARDTOOLS_INLINE inline uint8_t to_byte(float value, float rounding) {
    const float shifted = value + rounding;
    const float above = shifted > 0.0f ? shifted : 0.0f;
    return static_cast<uint8_t>(static_cast<int32_t>(above < 255.0f ? above : 255.0f));
}

}  // namespace shardtools
