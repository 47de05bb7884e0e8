// Pictures of frost on a pane, drawn here.
#pragma once

#include <cstdint>

namespace shardtools {

// Pictures are squares of that side whose borders fit together, RGB.
constexpr int kFrostSide = 512;
constexpr int kNumFrosts = 5;

// Picture `number` of kNumFrosts: drawn on the first call, then kept. Throws std::bad_alloc.
const uint8_t* frost_picture(int number);

}  // namespace shardtools
