// Fields: one float a pixel, [height, width].
#pragma once

#include <cstdint>

#include "corruption.h"

namespace shardtools {

// What lies beyond the border: the outermost value again; the field mirrored, the outermost value twice; or mirrored with
// the outermost value once.
enum class Border { kRepeated, kMirrored, kMirroredOnce };

// Index of what lies at `i`, which may be beyond [0, size).
inline int inside(int i, int size, Border border) {
    if (i >= 0 && i < size) return i;
    if (border == Border::kRepeated || size == 1) return i < 0 ? 0 : size - 1;
    const int period = border == Border::kMirrored ? 2 * size : 2 * size - 2;
    const int folded = ((i % period) + period) % period;
    if (folded < size) return folded;
    return border == Border::kMirrored ? period - 1 - folded : period - folded;
}

// Rows are read and written in steps of that many values.
constexpr size_t kStep = 32;
constexpr size_t padded(size_t count) { return (count + kStep - 1) / kStep * kStep; }

// out[i] = sum of weights[j] rows[j][i], i below `width`; all are read and written up to padded(width).
void weigh_rows(const float* const* rows, const float* weights, int count, float* out, size_t width);

// Weights of offsets -radius to radius of a Gaussian that is cut off at `truncate` sigmas; their sum is 1.
struct Kernel {
    int radius;
    float* weights;
};
Kernel gaussian_kernel(double sigma, double truncate, Scratch& scratch);

// The field smoothed along both sides, in place.
void smooth(float* field, int height, int width, const Kernel& kernel, Border border, Scratch& scratch);

// One value a pixel to three.
void spread(const float* row, int width, float* values);

}  // namespace shardtools
