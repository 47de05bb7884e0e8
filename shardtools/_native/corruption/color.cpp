// Brightness, contrast and saturation: each pixel changes by itself, and by the means of its image.
//
// The published program goes through hue, saturation and value in double precision. What that comes to is written down
// here without the hue, in the same order of operations where the cutting off would show another.
#include <algorithm>
#include <cmath>

#include "bytes.h"
#include "corruption.h"

namespace shardtools {
namespace {

double clipped(double value) { return std::min(std::max(value, 0.0), 1.0); }

uint8_t byte_of(double value, bool clean) { return static_cast<uint8_t>(clipped(value) * 255 + (clean ? 0.5 : 0.0)); }

struct Extremes {
    uint8_t least, most;
};

Extremes extremes_of(const uint8_t* pixel) {
    return {std::min(std::min(pixel[0], pixel[1]), pixel[2]), std::max(std::max(pixel[0], pixel[1]), pixel[2])};
}

}  // namespace

// (x - m) c + m, m the mean of the channel; parameters: c.
void contrast(const Task& task) {
    const size_t count = task.num_values();
    uint64_t sums[3] = {0, 0, 0};
    for (size_t i = 0; i < count; i += 3)
        for (size_t channel = 0; channel < 3; channel++) sums[channel] += task.input[i + channel];
    uint8_t table[3][256];
    for (size_t channel = 0; channel < 3; channel++) {
        const double mean = static_cast<double>(sums[channel]) / (255.0 * static_cast<double>(task.num_pixels()));
        for (int value = 0; value < 256; value++)
            table[channel][value] = byte_of((value / 255.0 - mean) * task.parameters[0] + mean, task.clean);
    }
    for (size_t i = 0; i < count; i += 3)
        for (size_t channel = 0; channel < 3; channel++)
            task.output[i + channel] = table[channel][task.input[i + channel]];
}

// Adds c to the largest channel, and multiplies the others as much; parameters: c.
void brightness(const Task& task) {
    uint8_t* table = task.scratch.take<uint8_t>(256 * 256);
    for (int most = 0; most < 256; most++) {
        const double value = clipped(most / 255.0 + task.parameters[0]);
        for (int channel = 0; channel <= most; channel++) {
            const double saturation = most == 0 ? 0.0 : (most / 255.0 - channel / 255.0) / (most / 255.0);
            table[most * 256 + channel] = byte_of(value * (1 - saturation), task.clean);
        }
    }
    const size_t count = task.num_values();
    for (size_t i = 0; i < count; i += 3) {
        const uint8_t* row = table + size_t{extremes_of(task.input + i).most} * 256;
        for (size_t channel = 0; channel < 3; channel++) task.output[i + channel] = row[task.input[i + channel]];
    }
}

// Saturation s to s a + b; the largest channel stays. Parameters: a, b.
void saturate(const Task& task) {
    const size_t count = task.num_values();
    for (size_t i = 0; i < count; i += 3) {
        const Extremes found = extremes_of(task.input + i);
        const double value = found.most / 255.0;
        const double range = value - found.least / 255.0;
        const double old_saturation = found.most == 0 ? 0.0 : range / value;
        const double saturation = clipped(old_saturation * task.parameters[0] + task.parameters[1]);
        for (size_t channel = 0; channel < 3; channel++) {
            // A gray pixel has the hue 0, which is red: the published program tints it.
            const double share = range > 0 ? (value - task.input[i + channel] / 255.0) / range
                                           : (channel == 0 || task.clean ? 0.0 : 1.0);
            task.output[i + channel] = byte_of(value * (1 - saturation * share), task.clean);
        }
    }
}

}  // namespace shardtools
