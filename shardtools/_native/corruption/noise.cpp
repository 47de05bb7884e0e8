// Noise: each value changes by itself.
#include "bytes.h"
#include "corruption.h"
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

}  // namespace shardtools
