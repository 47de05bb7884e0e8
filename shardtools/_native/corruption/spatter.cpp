// Drops of water, or mud.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "bytes.h"
#include "corruption.h"
#include "drops.h"
#include "filters.h"
#include "wide.h"

namespace shardtools {
namespace {

constexpr double kTruncate = 4;
constexpr float kWater[3] = {175, 238, 238};
constexpr float kMud[3] = {63, 42, 20};
// Mud that covers less than this share of a pixel runs off.
constexpr float kLeastCover = 0.8f;

float* smoothed(const Task& task, const float* field, double sigma) {
    float* found = task.scratch.take<float>(task.num_pixels());
    gaussian_blur(field, found, task.height, task.width, 1, sigma, kTruncate, Border::kRepeated, task.scratch);
    return found;
}

// Smoothed normal numbers, nothing below the threshold.
float* draw_liquid(const Task& task) {
    const size_t count = task.num_pixels();
    float* drawn = task.scratch.take<float>(Random::rounded(count));
    task.random.normals(drawn, count);
    float* liquid = smoothed(task, drawn, task.parameters[2]);
    const float mean = static_cast<float>(task.parameters[0]), deviation = static_cast<float>(task.parameters[1]);
    const float threshold = static_cast<float>(task.parameters[3]);
    for (size_t i = 0; i < count; i++) {
        const float value = mean + deviation * liquid[i];
        liquid[i] = value < threshold ? 0.0f : value;
    }
    return liquid;
}

// Runs down for one step: each place takes shares of the liquid from one below it to two above.
void flow(const Task& task, float* liquid) {
    constexpr float kShares[4] = {0.05f, 0.1f, 0.15f, 0.7f};
    const ptrdiff_t width = task.width;
    float* flowed = task.scratch.take<float>(task.num_pixels());
    for (int y = 0; y < task.height; y++)
        for (ptrdiff_t x = 0; x < width; x++) {
            float sum = 0;
            for (int i = 0; i < 4; i++) {
                const int from = y + 1 - i;
                if (from >= 0 && from < task.height) sum += kShares[i] * liquid[from * width + x];
            }
            flowed[y * width + x] = sum;
        }
    std::copy_n(flowed, task.num_pixels(), liquid);
}

// Adds cover times a color.
void splash(const Task& task, const float* cover, const float* color) {
    const float rounding = rounding_of(task.clean);
    for (size_t i = 0; i < task.num_pixels(); i++)
        for (size_t channel = 0; channel < 3; channel++)
            task.output[3 * i + channel] =
                to_byte(static_cast<float>(task.input[3 * i + channel]) + cover[i] * color[channel], rounding);
}

void splash_water(const Task& task, float* liquid) {
    const size_t count = task.num_pixels();
    uint8_t* depth = task.scratch.take<uint8_t>(count);
    for (size_t i = 0; i < count; i++)
        depth[i] = static_cast<uint8_t>(static_cast<int>(std::min(std::max(liquid[i], 0.0f), 1.0f) * 255));
    const uint8_t* shading = shade_drops(depth, task.height, task.width, task.scratch);
    float most = 0;
    for (size_t i = 0; i < count; i++) {
        liquid[i] = static_cast<float>(depth[i]) * static_cast<float>(shading[i]);
        most = std::max(most, liquid[i]);
    }
    // A picture without any drop stays as it is.
    const float scale = most > 0 ? static_cast<float>(task.parameters[4]) / most : 0.0f;
    for (size_t i = 0; i < count; i++) liquid[i] *= scale;
    splash(task, liquid, kWater);
}

void splash_mud(const Task& task, float* liquid) {
    const size_t count = task.num_pixels();
    const float threshold = static_cast<float>(task.parameters[3]);
    for (size_t i = 0; i < count; i++) liquid[i] = liquid[i] > threshold ? 1.0f : 0.0f;
    const float* covers = smoothed(task, liquid, task.parameters[4]);
    const float rounding = rounding_of(task.clean);
    for (size_t i = 0; i < count; i++) {
        const float cover = covers[i] < kLeastCover ? 0.0f : covers[i];
        for (size_t channel = 0; channel < 3; channel++)
            task.output[3 * i + channel] = to_byte(
                static_cast<float>(task.input[3 * i + channel]) * (1 - cover) + cover * kMud[channel], rounding);
    }
}

}  // namespace

// Parameters: mean, deviation, sigma and threshold of the liquid; strength of water or sigma of mud; 0 water, 1 mud.
void spatter(const Task& task) {
    float* liquid = draw_liquid(task);
    if (task.parameters[5] == 0)
        splash_water(task, liquid);
    else
        splash_mud(task, liquid);
}

// Water alone.
void spatter_after(const Task& task) {
    float* liquid = draw_liquid(task);
    for (int step = 0; step < static_cast<int>(task.parameters[6]); step++) flow(task, liquid);
    splash_water(task, liquid);
}

}  // namespace shardtools
