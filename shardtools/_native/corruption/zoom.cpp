// Zoom blur: the mean of an image and of its own enlarged middles.
#include <algorithm>
#include <cmath>

#include "bytes.h"
#include "corruption.h"
#include "wide.h"

#ifdef SHARDTOOLS_X86
#include <immintrin.h>
#endif

namespace shardtools {
namespace {

constexpr size_t kLanes = 8;

// Along one axis: output i lies between the pixels first[i] and first[i] + 1, at part[i] of the way.
struct Axis {
    int32_t* first;
    float* part;
};

// The middle of an axis, enlarged to at least the axis' own size and cut to it: as scipy.ndimage.zoom of order 1, whose
// first and last pixels lie on those of the middle.
Axis make_axis(int size, double factor, Scratch& scratch) {
    const size_t count = (static_cast<size_t>(size) + kLanes - 1) / kLanes * kLanes;
    const Axis axis{scratch.take<int32_t>(count), scratch.take<float>(count)};
    const int middle = std::min(static_cast<int>(std::ceil(size / factor)), size);
    const int begin = (size - middle) / 2;
    const int enlarged = static_cast<int>(std::nearbyint(middle * factor));
    const int skipped = (enlarged - size) / 2;
    const double step = enlarged > 1 ? static_cast<double>(middle - 1) / (enlarged - 1) : 1;
    for (size_t i = 0; i < count; i++) {
        // Beyond the end, where only whole vectors are filled, the last one is repeated.
        const double position = std::min(step * (skipped + std::min(static_cast<int>(i), size - 1)), middle - 1.0);
        const int whole = static_cast<int>(position);
        axis.first[i] = begin + whole;
        axis.part[i] = static_cast<float>(position - whole);
    }
    return axis;
}

SHARDTOOLS_INLINE inline float between(float left, float right, float part) { return left + (right - left) * part; }

// Adds an enlarged row that lies between two rows of the image.
void add_row(float* out, const float* above, const float* below, float down, const Axis& columns, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const size_t from = static_cast<size_t>(columns.first[i]);
        const float left = between(above[from], below[from], down);
        const float right = between(above[from + 1], below[from + 1], down);
        out[i] += between(left, right, columns.part[i]);
    }
}

#ifdef SHARDTOOLS_X86
__attribute__((target("avx2"))) inline __m256 between(__m256 left, __m256 right, __m256 part) {
    return _mm256_add_ps(left, _mm256_mul_ps(_mm256_sub_ps(right, left), part));
}

// Enlarging, eight neighbors come from at most eight neighbors: two loads and a permutation each.
__attribute__((target("avx2"))) void add_row_avx2(float* out, const float* above, const float* below, float down,
                                                  const Axis& columns, size_t count) {
    const __m256 downs = _mm256_set1_ps(down);
    for (size_t i = 0; i < count; i += kLanes) {
        const int32_t base = columns.first[i];
        const __m256 near = between(_mm256_loadu_ps(above + base), _mm256_loadu_ps(below + base), downs);
        const __m256 far = between(_mm256_loadu_ps(above + base + 1), _mm256_loadu_ps(below + base + 1), downs);
        const __m256i lanes = _mm256_sub_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(columns.first + i)),
                                               _mm256_set1_epi32(base));
        const __m256 value = between(_mm256_permutevar8x32_ps(near, lanes), _mm256_permutevar8x32_ps(far, lanes),
                                     _mm256_load_ps(columns.part + i));
        _mm256_storeu_ps(out + i, _mm256_add_ps(_mm256_loadu_ps(out + i), value));
    }
}
#endif

}  // namespace

// Parameters: number of factors, step from one to the next; the first factor is 1.
void zoom_blur(const Task& task) {
    const int num_factors = static_cast<int>(task.parameters[0]);
    // As numpy.arange has it.
    const double step = (1 + task.parameters[1]) - 1;
    const size_t width = static_cast<size_t>(task.width), stride = (width + 2 * kLanes) / kLanes * kLanes;
    float* planes[3];
    float* sums[3];
    for (int channel = 0; channel < 3; channel++) {
        planes[channel] = task.scratch.take<float>(stride * static_cast<size_t>(task.height));
        sums[channel] = task.scratch.take<float>(stride);
    }
    // Behind each row lies what its last pixel is mixed with, with weight 0: it must be a number, and so its own is repeated.
    for (int y = 0; y < task.height; y++)
        for (size_t x = 0; x < stride; x++)
            for (int channel = 0; channel < 3; channel++)
                planes[channel][static_cast<size_t>(y) * stride + x] =
                    task.input[(static_cast<size_t>(y) * width + std::min(x, width - 1)) * 3 + static_cast<size_t>(channel)];
    Axis* rows = task.scratch.take<Axis>(static_cast<size_t>(num_factors));
    Axis* columns = task.scratch.take<Axis>(static_cast<size_t>(num_factors));
    for (int k = 1; k < num_factors; k++) {
        rows[k] = make_axis(task.height, 1 + k * step, task.scratch);
        columns[k] = make_axis(task.width, 1 + k * step, task.scratch);
    }
    const float share = 1.0f / static_cast<float>(num_factors + 1), rounding = rounding_of(task.clean);
    for (int y = 0; y < task.height; y++) {
        for (int channel = 0; channel < 3; channel++) {
            const float* plane = planes[channel];
            float* sum = sums[channel];
            // The image itself, and its enlargement by 1.
            for (size_t x = 0; x < width; x++) sum[x] = 2 * plane[static_cast<size_t>(y) * stride + x];
            for (int k = 1; k < num_factors; k++) {
                const float* above = plane + static_cast<size_t>(rows[k].first[y]) * stride;
                const float* below = rows[k].first[y] + 1 < task.height ? above + stride : above;
#ifdef SHARDTOOLS_X86
                if (uses_avx2()) {
                    add_row_avx2(sum, above, below, rows[k].part[y], columns[k], width);
                    continue;
                }
#endif
                add_row(sum, above, below, rows[k].part[y], columns[k], width);
            }
        }
        uint8_t* out = task.output + static_cast<size_t>(y) * task.row_values();
        const float *red = sums[0], *green = sums[1], *blue = sums[2];
        wide([=]() SHARDTOOLS_INLINE {
            for (size_t x = 0; x < width; x++) {
                out[3 * x] = to_byte(red[x] * share, rounding);
                out[3 * x + 1] = to_byte(green[x] * share, rounding);
                out[3 * x + 2] = to_byte(blue[x] * share, rounding);
            }
        });
    }
}

}  // namespace shardtools
