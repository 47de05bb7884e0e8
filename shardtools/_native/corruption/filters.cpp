#include "filters.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "curves.h"
#include "wide.h"

namespace shardtools {
namespace {

// So many rows are added at once, to read and write the sum itself seldom.
constexpr int kRowsAtOnce = 8;

template <int N, bool kIsFirst>
SHARDTOOLS_INLINE inline void add_rows(float* out, const float* const* rows, const float* weights, size_t count) {
    const float* from[N];
    float by[N];
    for (int k = 0; k < N; k++) {
        from[k] = rows[k];
        by[k] = weights[k];
    }
#pragma GCC ivdep
    for (size_t i = 0; i < count; i++) {
        float sum = kIsFirst ? 0.0f : out[i];
        for (int k = 0; k < N; k++) sum += by[k] * from[k][i];
        out[i] = sum;
    }
}

template <int N>
SHARDTOOLS_INLINE inline void add_last_rows(float* out, const float* const* rows, const float* weights, int left,
                                            size_t count) {
    if (left == N)
        add_rows<N, false>(out, rows, weights, count);
    else if constexpr (N > 1)
        add_last_rows<N - 1>(out, rows, weights, left, count);
}

}  // namespace

void weighted_sum(float* out, const float* const* rows, const float* weights, int num_rows, size_t count) {
    wide([=]() SHARDTOOLS_INLINE {
        int done = 0;
        if (num_rows >= kRowsAtOnce) {
            add_rows<kRowsAtOnce, true>(out, rows, weights, count);
            done = kRowsAtOnce;
        } else {
            add_rows<1, true>(out, rows, weights, count);
            done = 1;
        }
        for (; num_rows - done >= kRowsAtOnce; done += kRowsAtOnce)
            add_rows<kRowsAtOnce, false>(out, rows + done, weights + done, count);
        add_last_rows<kRowsAtOnce - 1>(out, rows + done, weights + done, num_rows - done, count);
    });
}

void pad_row(float* out, const float* row, int width, int channels, int pixels, Border border) {
    const auto copy = [=](int position) {
        const float* from = row + static_cast<size_t>(inside(position, width, border)) * channels;
        float* to = out + static_cast<size_t>(position + pixels) * channels;
        for (int channel = 0; channel < channels; channel++) to[channel] = from[channel];
    };
    for (int i = 1; i <= pixels; i++) {
        copy(-i);
        copy(width - 1 + i);
    }
    std::memcpy(out + static_cast<size_t>(pixels) * channels, row, sizeof(float) * static_cast<size_t>(width) * channels);
}

void gaussian_blur(const float* input, float* output, int height, int width, int channels, double sigma, double truncate,
                   Border border, Scratch& scratch) {
    const int radius = static_cast<int>(truncate * sigma + 0.5);
    const int taps = 2 * radius + 1;
    const size_t count = static_cast<size_t>(width) * channels;
    float* weights = scratch.take<float>(static_cast<size_t>(taps));
    const float** rows = scratch.take<const float*>(static_cast<size_t>(taps));
    float* row = scratch.take<float>(count);
    float* padded = scratch.take<float>(count + static_cast<size_t>(2 * radius) * channels);
    double total = 0;
    const auto weight = [=](int i) { return sigma > 0 ? exponential(-0.5 * (i / sigma) * (i / sigma)) : 1.0; };
    for (int i = -radius; i <= radius; i++) total += weight(i);
    for (int i = -radius; i <= radius; i++) weights[i + radius] = static_cast<float>(weight(i) / total);
    for (int y = 0; y < height; y++) {
        for (int i = 0; i < taps; i++)
            rows[i] = input + static_cast<size_t>(inside(y + i - radius, height, border)) * count;
        weighted_sum(row, rows, weights, taps, count);
        pad_row(padded, row, width, channels, radius, border);
        for (int i = 0; i < taps; i++) rows[i] = padded + static_cast<size_t>(i) * channels;
        weighted_sum(output + static_cast<size_t>(y) * count, rows, weights, taps, count);
    }
}

void motion_blur(const float* input, float* output, int height, int width, int channels, int radius, double sigma,
                 double angle, Scratch& scratch) {
    const int taps = 2 * radius + 1;
    const size_t count = static_cast<size_t>(width) * channels;
    const size_t stride = count + static_cast<size_t>(4 * radius) * channels;
    float* padded = scratch.take<float>(stride * static_cast<size_t>(height));
    float* weights = scratch.take<float>(static_cast<size_t>(taps));
    const float** rows = scratch.take<const float*>(static_cast<size_t>(taps));
    for (int y = 0; y < height; y++)
        pad_row(padded + static_cast<size_t>(y) * stride, input + static_cast<size_t>(y) * count, width, channels,
                2 * radius, Border::kRepeated);
    const double down_by = sine(angle), right_by = cosine(angle);
    double total = 0;
    const auto weight = [=](int i) { return exponential(-0.5 * (i / sigma) * (i / sigma)); };
    for (int i = 0; i < taps; i++) total += weight(i);
    for (int i = 0; i < taps; i++) weights[i] = static_cast<float>(weight(i) / total);
    for (int y = 0; y < height; y++) {
        for (int i = 0; i < taps; i++) {
            const int right = static_cast<int>(std::ceil(i * right_by - 0.5));
            const int down = static_cast<int>(std::ceil(i * down_by - 0.5));
            const int from = inside(y + down, height, Border::kRepeated);
            rows[i] = padded + static_cast<size_t>(from) * stride + static_cast<size_t>(right + 2 * radius) * channels;
        }
        weighted_sum(output + static_cast<size_t>(y) * count, rows, weights, taps, count);
    }
}

}  // namespace shardtools
