// Noise: each value changes by itself.
#include "bytes.h"
#include "corruption.h"
#include "shot_table.h"
#include "wide.h"

namespace shardtools {

// x + N(0, sigma); parameters: sigma, of values in [0, 1].
void gaussian_noise(const Task& task) {
    const size_t count = task.num_values();
    float* noise = task.scratch.take<float>(Random::rounded(count));
    task.random.normals(noise, count);
    const uint8_t* input = task.input;
    uint8_t* output = task.output;
    const float sigma = static_cast<float>(task.parameters[0] * 255);
    const float rounding = rounding_of(task.clean);
    wide([=]() SHARDTOOLS_INLINE {
        for (size_t i = 0; i < count; i++) output[i] = to_byte(static_cast<float>(input[i]) + sigma * noise[i], rounding);
    });
}

// Poisson(x c) / c; parameters: c, the photons of a white pixel.
void shot_noise(const Task& task) {
    const size_t count = task.num_values();
    uint32_t* words = task.scratch.take<uint32_t>(Random::rounded(count));
    task.random.bits(words, count);
    const ShotTable table = find_shot_table(task.parameters[0], task.clean, task.scratch);
    for (size_t i = 0; i < count; i++) task.output[i] = table.draw(task.input[i], words[i]);
}

// Of all values a share becomes 0 or 255, each half of the time; parameters: the share.
void impulse_noise(const Task& task) {
    const size_t count = task.num_values();
    uint32_t* words = task.scratch.take<uint32_t>(Random::rounded(count));
    task.random.bits(words, count);
    const uint8_t* input = task.input;
    uint8_t* output = task.output;
    const double share = task.parameters[0] < 1 ? task.parameters[0] : 1;
    const uint32_t half = static_cast<uint32_t>(share / 2 * 0x1p32);
    wide([=]() SHARDTOOLS_INLINE {
        for (size_t i = 0; i < count; i++) {
            // The uppermost bit says which of the two, the others whether.
            const uint8_t extreme = static_cast<uint8_t>(static_cast<int32_t>(words[i]) >> 31);
            output[i] = (words[i] & 0x7FFFFFFFu) < half ? extreme : input[i];
        }
    });
}

// x + x N(0, sigma); parameters: sigma.
void speckle_noise(const Task& task) {
    const size_t count = task.num_values();
    float* noise = task.scratch.take<float>(Random::rounded(count));
    task.random.normals(noise, count);
    const uint8_t* input = task.input;
    uint8_t* output = task.output;
    const float sigma = static_cast<float>(task.parameters[0]);
    const float rounding = rounding_of(task.clean);
    wide([=]() SHARDTOOLS_INLINE {
        for (size_t i = 0; i < count; i++) {
            const float value = static_cast<float>(input[i]);
            output[i] = to_byte(value + value * (sigma * noise[i]), rounding);
        }
    });
}

}  // namespace shardtools
