// Clouds by the diamond-square algorithm.
#pragma once

#include "random.h"
#include "scratch.h"

namespace shardtools {

// [size, size] in [0, 1], least 0 and most 1; the borders fit together. `size`: a power of two. Each level of detail
// has `decay` squared times less weight than the one before.
float* draw_plasma(int size, double decay, Random& random, Scratch& scratch);

}  // namespace shardtools
