// How drops of water catch the light: brighter along one side of their outline.
#pragma once

#include <cstdint>

#include "scratch.h"

namespace shardtools {

// `depth`: [height, width], the liquid. The result, of the same shape, follows the published program: outlines by Canny's
// method, the distance to them, evened out over all levels and filtered as if lit from one corner.
uint8_t* shade_drops(const uint8_t* depth, int height, int width, Scratch& scratch);

}  // namespace shardtools
