#include "field.h"

#include <algorithm>

#include "curves.h"
#include "wide.h"

namespace shardtools {
void weigh_rows(const float* const* rows, const float* weights, int count, float* out, size_t width) {
    wide([=]() SHARDTOOLS_INLINE {
        for (size_t start = 0; start < width; start += kStep) {
            // As many sums as stay in registers while the rows go by.
            float sums[kStep] = {};
            for (int j = 0; j < count; j++) {
                const float weight = weights[j];
                const float* row = rows[j] + start;
                for (size_t i = 0; i < kStep; i++) sums[i] += weight * row[i];
            }
            for (size_t i = 0; i < kStep; i++) out[start + i] = sums[i];
        }
    });
}

Kernel gaussian_kernel(double sigma, double truncate, Scratch& scratch) {
    const int radius = static_cast<int>(truncate * sigma + 0.5);
    float* weights = scratch.take<float>(static_cast<size_t>(2 * radius + 1));
    double* exact = scratch.take<double>(static_cast<size_t>(radius + 1));
    double sum = 0;
    for (int i = 0; i <= radius; i++) {
        exact[i] = exponential(-0.5 * i * i / (sigma * sigma));
        sum += i == 0 ? exact[i] : 2 * exact[i];
    }
    for (int i = 0; i <= radius; i++)
        weights[radius + i] = weights[radius - i] = static_cast<float>(exact[i] / sum);
    return {radius, weights};
}

void smooth(float* field, int height, int width, const Kernel& kernel, Border border, Scratch& scratch) {
    const int radius = kernel.radius, count = 2 * radius + 1;
    const size_t stride = padded(static_cast<size_t>(width));
    float* across = scratch.take<float>(stride * static_cast<size_t>(height));
    float* line = scratch.take<float>(stride + static_cast<size_t>(count));
    float* down = scratch.take<float>(stride);
    const float** rows = scratch.take<const float*>(static_cast<size_t>(count));
    for (int y = 0; y < height; y++) {
        const float* source = field + static_cast<size_t>(y) * static_cast<size_t>(width);
        std::copy_n(source, width, line + radius);
        std::fill(line + radius + width, line + stride + count, 0.0f);
        for (int i = 1; i <= radius; i++) {
            line[radius - i] = source[inside(-i, width, border)];
            line[radius + width - 1 + i] = source[inside(width - 1 + i, width, border)];
        }
        for (int j = 0; j < count; j++) rows[j] = line + j;
        float* target = across + static_cast<size_t>(y) * stride;
        weigh_rows(rows, kernel.weights, count, target, stride);
    }
    for (int y = 0; y < height; y++) {
        for (int j = 0; j < count; j++)
            rows[j] = across + static_cast<size_t>(inside(y + j - radius, height, border)) * stride;
        weigh_rows(rows, kernel.weights, count, down, stride);
        std::copy_n(down, width, field + static_cast<size_t>(y) * static_cast<size_t>(width));
    }
}

void spread(const float* row, int width, float* values) {
    for (int x = 0; x < width; x++) values[3 * x] = values[3 * x + 1] = values[3 * x + 2] = row[x];
}

}  // namespace shardtools
