// Bytes to floating-point values of 0 to 255 and back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "wide.h"

namespace shardtools {

// What is added before the fraction is cut off: the published code cuts off, a clean image is rounded. The little that
// is added for the former is what arithmetic on 32-bit floats may lose, so that a flat area of 100 does not come out as
// 99 here and there.
inline float rounding_of(bool clean) { return clean ? 0.5f : 0x1p-11f; }

SHARDTOOLS_INLINE inline uint8_t to_byte(float value, float rounding) {
    const float shifted = value + rounding;
    const float above = shifted > 0.0f ? shifted : 0.0f;
    return static_cast<uint8_t>(static_cast<int32_t>(above < 255.0f ? above : 255.0f));
}

inline void to_floats(float* values, const uint8_t* bytes, size_t count) {
    wide([=]() SHARDTOOLS_INLINE {
        for (size_t i = 0; i < count; i++) values[i] = static_cast<float>(bytes[i]);
    });
}

inline void to_bytes(uint8_t* bytes, const float* values, size_t count, float rounding) {
    wide([=]() SHARDTOOLS_INLINE {
        for (size_t i = 0; i < count; i++) bytes[i] = to_byte(values[i], rounding);
    });
}

}  // namespace shardtools
