// Snow and fog.
#include <algorithm>
#include <cmath>

#include "bytes.h"
#include "corruption.h"
#include "curves.h"
#include "filters.h"
#include "plasma.h"
#include "wide.h"

namespace shardtools {
namespace {

// The middle of a field enlarged: every output lies between two inputs, the outermost on the outermost.
struct Enlarged {
    int size, trim;

    // Where output `i` lies among `inputs` inputs.
    double position(int i, int inputs) const {
        return size == 1 ? 0.0 : static_cast<double>(i + trim) * (inputs - 1) / (size - 1);
    }
};

Enlarged enlarged(int side, int inputs, double factor) {
    const int size = static_cast<int>(std::nearbyint(inputs * factor));
    return {std::max(size, side), (std::max(size, side) - side) / 2};
}

// Flakes: normal numbers, enlarged, nothing below the threshold. Only as many are drawn as are seen.
void draw_flakes(const Task& task, float* flakes) {
    const float mean = static_cast<float>(task.parameters[0]), deviation = static_cast<float>(task.parameters[1]);
    const float threshold = static_cast<float>(task.parameters[3]);
    const int rows = static_cast<int>(std::ceil(task.height / task.parameters[2]));
    const int columns = static_cast<int>(std::ceil(task.width / task.parameters[2]));
    const Enlarged tall = enlarged(task.height, rows, task.parameters[2]);
    const Enlarged broad = enlarged(task.width, columns, task.parameters[2]);
    const size_t count = static_cast<size_t>(rows) * static_cast<size_t>(columns);
    float* grains = task.scratch.take<float>(Random::rounded(count));
    task.random.normals(grains, count);
    int* lefts = task.scratch.take<int>(static_cast<size_t>(task.width));
    float* shares = task.scratch.take<float>(static_cast<size_t>(task.width));
    for (int x = 0; x < task.width; x++) {
        const double place = broad.position(x, columns);
        lefts[x] = std::min(static_cast<int>(place), std::max(columns - 2, 0));
        shares[x] = static_cast<float>(place - lefts[x]);
    }
    float* mixed = task.scratch.take<float>(static_cast<size_t>(columns) + 1);
    for (int y = 0; y < task.height; y++) {
        const double place = tall.position(y, rows);
        const int top = std::min(static_cast<int>(place), std::max(rows - 2, 0));
        const float share = static_cast<float>(place - top);
        const float* upper = grains + static_cast<size_t>(top) * static_cast<size_t>(columns);
        const float* lower = rows > 1 ? upper + columns : upper;
        for (int i = 0; i < columns; i++) mixed[i] = mean + deviation * (upper[i] + share * (lower[i] - upper[i]));
        mixed[columns] = mixed[columns - 1];
        float* flake = flakes + static_cast<size_t>(y) * static_cast<size_t>(task.width);
        for (int x = 0; x < task.width; x++) {
            const float* left = mixed + lefts[x];
            const float value = left[0] + shares[x] * (left[1] - left[0]);
            flake[x] = value < threshold ? 0.0f : std::min(std::max(value, 0.0f), 1.0f);
        }
    }
}

// To whole numbers of 255, as a picture in between holds them.
float whole(float value) { return static_cast<float>(static_cast<int>(value * 255 + 0.5f)); }

// Snow that falls in a direction in degrees, or in one that is drawn.
void let_snow(const Task& task, const double* told) {
    float* drawn = task.scratch.take<float>(task.num_pixels());
    float* flakes = task.scratch.take<float>(task.num_pixels());
    draw_flakes(task, drawn);
    const double angle = (told == nullptr ? task.random.uniform(-135, -45) : *told) * kPi / 180;
    motion_blur(drawn, flakes, task.height, task.width, 1, static_cast<int>(task.parameters[4]), task.parameters[5], angle,
                task.scratch);
    const size_t num_pixels = task.num_pixels(), num_values = task.row_values();
    for (size_t i = 0; i < num_pixels; i++) flakes[i] = task.clean ? flakes[i] * 255 : whole(flakes[i]);
    float* grays = task.scratch.take<float>(num_values);
    float* falling = task.scratch.take<float>(num_values);
    const float kept = static_cast<float>(task.parameters[6]), bleached = static_cast<float>(1 - task.parameters[6]);
    const float rounding = rounding_of(task.clean);
    for (int y = 0; y < task.height; y++) {
        const size_t first = static_cast<size_t>(y) * static_cast<size_t>(task.width);
        const uint8_t* input = task.input + first * 3;
        uint8_t* output = task.output + first * 3;
        for (int x = 0; x < task.width; x++) {
            const uint8_t* pixel = input + x * 3;
            const float gray = 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
            const size_t place = first + static_cast<size_t>(x);
            grays[3 * x] = grays[3 * x + 1] = grays[3 * x + 2] = gray * 1.5f + 127.5f;
            falling[3 * x] = falling[3 * x + 1] = falling[3 * x + 2] = flakes[place] + flakes[num_pixels - 1 - place];
        }
        wide([=]() SHARDTOOLS_INLINE {
            for (size_t i = 0; i < num_values; i++) {
                const float value = input[i];
                const float bleach = value > grays[i] ? value : grays[i];
                output[i] = to_byte(kept * value + bleached * bleach + falling[i], rounding);
            }
        });
    }
}

}  // namespace

// Flakes and their mirror image over a bleached image; parameters: mean, deviation, enlargement and threshold of the
// flakes, radius and sigma of their fall, share of the image that is not bleached.
void snow(const Task& task) { let_snow(task, nullptr); }

void snow_toward(const Task& task) { let_snow(task, task.parameters + 7); }

// A cloud over the image, and the sum darkened to the image's brightest value; parameters: thickness, decay of the
// cloud's detail. The cloud is the upper left of a square map of 256 pixels or the next power of two.
void fog(const Task& task) {
    int size = 256;
    while (size < std::max(task.height, task.width)) size *= 2;
    const float* cloud = draw_plasma(size, task.parameters[1], task.random, task.scratch);
    const size_t num_values = task.row_values();
    float* values = task.scratch.take<float>(num_values);
    const float brightest = *std::max_element(task.input, task.input + task.num_values()) / 255.0f;
    const float thickness = static_cast<float>(task.parameters[0]);
    const float darkening = brightest / (brightest + thickness), added = thickness * 255 * darkening;
    const float rounding = rounding_of(task.clean);
    for (int y = 0; y < task.height; y++) {
        const uint8_t* input = task.input + static_cast<size_t>(y) * num_values;
        uint8_t* output = task.output + static_cast<size_t>(y) * num_values;
        const float* cloud_row = cloud + static_cast<size_t>(y) * static_cast<size_t>(size);
        for (int x = 0; x < task.width; x++) values[3 * x] = values[3 * x + 1] = values[3 * x + 2] = cloud_row[x];
        wide([=]() SHARDTOOLS_INLINE {
            for (size_t i = 0; i < num_values; i++)
                output[i] = to_byte(darkening * static_cast<float>(input[i]) + added * values[i], rounding);
        });
    }
}

}  // namespace shardtools
