// Blurs that are sums of an image's own pixels: round, along a line, Gaussian, and through rough glass.
#include <algorithm>

#include "bytes.h"
#include "corruption.h"
#include "filters.h"
#include "curves.h"
#include "wide.h"

namespace shardtools {
namespace {

constexpr double kTruncate = 4;
constexpr double kSteepest = kPi / 4;

struct Floats {
    float* input;
    float* output;
};

Floats take_floats(const Task& task) {
    const Floats floats{task.scratch.take<float>(task.num_values()), task.scratch.take<float>(task.num_values())};
    to_floats(floats.input, task.input, task.num_values());
    return floats;
}

// Pixels of four bytes: one is moved at once.
void pack(uint32_t* pixels, const float* values, size_t num_pixels, float rounding) {
    wide([=]() SHARDTOOLS_INLINE {
        for (size_t i = 0; i < num_pixels; i++)
            pixels[i] = uint32_t{to_byte(values[3 * i], rounding)} | uint32_t{to_byte(values[3 * i + 1], rounding)} << 8 |
                        uint32_t{to_byte(values[3 * i + 2], rounding)} << 16;
    });
}

void unpack(float* values, const uint32_t* pixels, size_t num_pixels) {
    wide([=]() SHARDTOOLS_INLINE {
        for (size_t i = 0; i < num_pixels; i++)
            for (int channel = 0; channel < 3; channel++)
                values[3 * i + channel] = static_cast<float>(static_cast<int32_t>(pixels[i] >> (8 * channel) & 255u));
    });
}

// Each pixel that is at least `reach` away from every border, from the last to the first, takes the value of one up to
// `reach` away. It should change places with that one, but the published code copies.
void stir(uint32_t* pixels, int32_t* moves, int height, int width, int reach, bool swaps, Random& random) {
    const int rows = height - 2 * reach, columns = width - 2 * reach;
    if (rows < 1 || columns < 1) return;
    const size_t count = static_cast<size_t>(rows) * static_cast<size_t>(columns);
    uint32_t* words = reinterpret_cast<uint32_t*>(moves);
    random.bits(words, count);
    const uint32_t choices = static_cast<uint32_t>(2 * reach);
    wide([=]() SHARDTOOLS_INLINE {
        for (size_t i = 0; i < count; i++) {
            const int32_t right = static_cast<int32_t>((words[i] & 0xFFFFu) * choices >> 16) - reach;
            const int32_t down = static_cast<int32_t>((words[i] >> 16) * choices >> 16) - reach;
            moves[i] = down * width + right;
        }
    });
    for (int y = height - reach; y > reach; y--) {
        uint32_t* row = pixels + static_cast<size_t>(y) * width;
        for (int x = width - reach; x > reach; x--) {
            const int32_t move = *moves++;
            if (swaps)
                std::swap(row[x], row[x + move]);
            else
                row[x] = row[x + move];
        }
    }
}

void blur_evenly(const Task& task, double sigma, double truncate) {
    const Floats floats = take_floats(task);
    gaussian_blur(floats.input, floats.output, task.height, task.width, 3, sigma, truncate, Border::kRepeated,
                  task.scratch);
    to_bytes(task.output, floats.output, task.num_values(), rounding_of(task.clean));
}

// ImageMagick, which made the published images, rounds.
void blur_along(const Task& task, double angle) {
    const Floats floats = take_floats(task);
    motion_blur(floats.input, floats.output, task.height, task.width, 3, static_cast<int>(task.parameters[0]),
                task.parameters[1], angle, task.scratch);
    to_bytes(task.output, floats.output, task.num_values(), rounding_of(true));
}

}  // namespace

// Parameters: sigma in pixels.
void gaussian_blur(const Task& task) { blur_evenly(task, task.parameters[0], kTruncate); }

void gaussian_blur_within(const Task& task) { blur_evenly(task, task.parameters[0], task.parameters[1]); }

// Parameters: radius, sigma. The direction is within 45 degrees of level.
void motion_blur(const Task& task) { blur_along(task, task.random.uniform(-kSteepest, kSteepest)); }

void motion_blur_toward(const Task& task) { blur_along(task, task.parameters[2] * kPi / 180); }

// Parameters: sigma, reach, number of passes.
void glass_blur(const Task& task) {
    const Floats floats = take_floats(task);
    const int reach = static_cast<int>(task.parameters[1]);
    uint32_t* pixels = task.scratch.take<uint32_t>(task.num_pixels());
    int32_t* moves = task.scratch.take<int32_t>(Random::rounded(task.num_pixels()));
    const auto blur = [&] {
        gaussian_blur(floats.input, floats.output, task.height, task.width, 3, task.parameters[0], kTruncate,
                      Border::kRepeated, task.scratch);
    };
    blur();
    pack(pixels, floats.output, task.num_pixels(), rounding_of(task.clean));
    for (int pass = 0; pass < static_cast<int>(task.parameters[2]); pass++)
        stir(pixels, moves, task.height, task.width, reach, task.clean, task.random);
    unpack(floats.input, pixels, task.num_pixels());
    blur();
    to_bytes(task.output, floats.output, task.num_values(), rounding_of(task.clean));
}

}  // namespace shardtools
