#include "plasma.h"

#include <algorithm>

namespace shardtools {
namespace {

struct Map {
    float* values;
    const float* draws;
    int size;

    float& at(int y, int x) const {
        const int mask = size - 1;
        return values[static_cast<size_t>(y & mask) * static_cast<size_t>(size) + static_cast<size_t>(x & mask)];
    }

    // The mean of four neighbors, and a number between -most and most.
    float mean(float sum, float most) { return sum * 0.25f + most * (*draws++ * 2 - 1); }
};

// Points in the middle of four corners, then those in the middle of four sides.
void refine(Map& map, int step, float most) {
    const int half = step / 2;
    for (int y = 0; y < map.size; y += step)
        for (int x = 0; x < map.size; x += step)
            map.at(y + half, x + half) = map.mean(
                map.at(y, x) + map.at(y + step, x) + map.at(y, x + step) + map.at(y + step, x + step), most);
    for (int y = 0; y < map.size; y += half)
        for (int x = (y & half) != 0 ? 0 : half; x < map.size; x += step)
            map.at(y, x) = map.mean(
                map.at(y - half, x) + map.at(y + half, x) + map.at(y, x - half) + map.at(y, x + half), most);
}

}  // namespace

float* draw_plasma(int size, double decay, Random& random, Scratch& scratch) {
    const size_t count = static_cast<size_t>(size) * static_cast<size_t>(size);
    float* values = scratch.take<float>(count);
    float* draws = scratch.take<float>(Random::rounded(count));
    random.uniforms(draws, count);
    Map map{values, draws, size};
    map.at(0, 0) = 0;
    double wibble = 100;
    for (int step = size; step >= 2; step /= 2) {
        // Squared, since the published program multiplies a number up to `wibble` by it once more.
        refine(map, step, static_cast<float>(wibble * wibble));
        wibble /= decay;
    }
    const auto [least, most] = std::minmax_element(values, values + count);
    const float low = *least, range = *most - low;
    for (size_t i = 0; i < count; i++) values[i] = (values[i] - low) / range;
    return values;
}

}  // namespace shardtools
