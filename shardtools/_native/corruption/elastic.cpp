// The image drawn out by three of its points, then by smooth fields of displacements.
#include <algorithm>
#include <cmath>

#include "bytes.h"
#include "corruption.h"
#include "curves.h"
#include "filters.h"
#include "wide.h"

namespace shardtools {
namespace {

// The sides of the images that the published lengths belong to.
constexpr double kPublishedSide = 224;

// A pixel with a fourth value, so that one instruction works on all of it.
typedef float Quad __attribute__((vector_size(16)));

struct Sheet {
    Quad* pixels;
    int height, width;
};

// std::floor is a call on processors of before SSE 4.1.
SHARDTOOLS_INLINE inline int floor_of(float value) {
    const int cut = static_cast<int>(value);
    return cut - (value < static_cast<float>(cut) ? 1 : 0);
}

// The value between four pixels.
template <Border border>
SHARDTOOLS_INLINE inline Quad sample(const Sheet& sheet, float y, float x) {
    const int row = floor_of(y), column = floor_of(x);
    const float down = y - static_cast<float>(row), right = x - static_cast<float>(column);
    const Quad* pixels[4];
    if (row >= 0 && row + 1 < sheet.height && column >= 0 && column + 1 < sheet.width) {
        pixels[0] = sheet.pixels + static_cast<ptrdiff_t>(row) * sheet.width + column;
        pixels[1] = pixels[0] + 1;
        pixels[2] = pixels[0] + sheet.width;
        pixels[3] = pixels[2] + 1;
    } else {
        for (int i = 0; i < 4; i++)
            pixels[i] = sheet.pixels + static_cast<ptrdiff_t>(inside(row + i / 2, sheet.height, border)) * sheet.width +
                        inside(column + i % 2, sheet.width, border);
    }
    const Quad upper = *pixels[0] + (*pixels[1] - *pixels[0]) * right;
    const Quad lower = *pixels[2] + (*pixels[3] - *pixels[2]) * right;
    return upper + (lower - upper) * down;
}

struct Point {
    double x, y;
};

// A map of the plane: [x, y] to [xx x + xy y + x0, yx x + yy y + y0].
struct Affine {
    double xx, xy, x0, yx, yy, y0;
};

// The map that takes three points to three others; nothing is moved where either three lie on one line.
Affine affine_of(const Point* from, const Point* to) {
    const double ax = from[1].x - from[0].x, ay = from[1].y - from[0].y;
    const double bx = from[2].x - from[0].x, by = from[2].y - from[0].y;
    const double area = ax * by - ay * bx;
    const double ux = to[1].x - to[0].x, uy = to[1].y - to[0].y;
    const double vx = to[2].x - to[0].x, vy = to[2].y - to[0].y;
    // The latter in images less than three pixels high or wide, which would come out as one color.
    if (std::fabs(area) < 1e-9 || std::fabs(ux * vy - uy * vx) < 1e-9) return {1, 0, 0, 0, 1, 0};
    const double xx = (ux * by - vx * ay) / area, xy = (vx * ax - ux * bx) / area;
    const double yx = (uy * by - vy * ay) / area, yy = (vy * ax - uy * bx) / area;
    return {xx, xy, to[0].x - xx * from[0].x - xy * from[0].y, yx, yy, to[0].y - yx * from[0].x - yy * from[0].y};
}

// Where the pixels of the drawn-out image come from.
Affine draw_affine(const Task& task, double most) {
    const double side = std::min(task.height, task.width) / 3;
    double x = task.width / 2, y = task.height / 2;
    // The published program takes height and width for x and y, which shows in images that are not square.
    if (!task.clean) std::swap(x, y);
    const Point points[3] = {{x + side, y + side}, {x + side, y - side}, {x - side, y - side}};
    Point moved[3];
    for (int i = 0; i < 3; i++)
        moved[i] = {points[i].x + task.random.uniform(-most, most), points[i].y + task.random.uniform(-most, most)};
    return affine_of(moved, points);
}

// Kernels end at so many sigmas.
constexpr double kTruncate = 3;

// Uniform numbers, smoothed.
void draw_rough(const Task& task, double sigma, float* field) {
    float* drawn = task.scratch.take<float>(Random::rounded(task.num_pixels()));
    task.random.uniforms(drawn, task.num_pixels());
    for (size_t i = 0; i < task.num_pixels(); i++) drawn[i] = drawn[i] * 2 - 1;
    gaussian_blur(drawn, field, task.height, task.width, 1, sigma, kTruncate, Border::kMirrored, task.scratch);
}

// What a wide kernel leaves of mirrored noise: waves along one axis, [count, size], each times what is left of it.
struct Waves {
    int count, size;
    float* values;

    const float* row(int wave) const { return values + static_cast<size_t>(wave) * static_cast<size_t>(size); }
};

Waves waves_of(int size, double sigma, Scratch& scratch) {
    const int radius = static_cast<int>(kTruncate * sigma + 0.5);
    double* weights = scratch.take<double>(static_cast<size_t>(radius) + 1);
    double total = 0;
    for (int i = 0; i <= radius; i++) {
        weights[i] = exponential(-0.5 * i * i / (sigma * sigma));
        total += i == 0 ? weights[i] : 2 * weights[i];
    }
    // Of the waves beyond, an uncut Gaussian leaves less than 1e-4.
    const int count = std::min(size, static_cast<int>(std::ceil(size * 4.3 / (kPi * sigma))) + 1);
    const Waves waves{count, size, scratch.take<float>(static_cast<size_t>(count) * static_cast<size_t>(size))};
    for (int wave = 0; wave < count; wave++) {
        const double turn = kPi * wave / size;
        double left = weights[0];
        for (int i = 1; i <= radius; i++) left += 2 * weights[i] * cosine(turn * i);
        const double scale = left / total * std::sqrt((wave == 0 ? 1.0 : 2.0) / size);
        float* row = waves.values + static_cast<size_t>(wave) * static_cast<size_t>(size);
        for (int i = 0; i < size; i++) row[i] = static_cast<float>(scale * cosine(turn * (i + 0.5)));
    }
    return waves;
}

// The same where the kernel is wide: a kernel over mirrored noise multiplies each of its cosine waves by a number, and
// all but the longest vanish. A wave of the noise is the sum of so many numbers that it is normal.
void draw_smooth(const Task& task, const Waves& down, const Waves& across, float* field) {
    const size_t count = static_cast<size_t>(down.count) * static_cast<size_t>(across.count);
    float* strengths = task.scratch.take<float>(Random::rounded(count));
    task.random.normals(strengths, count);
    const float deviation = static_cast<float>(std::sqrt(1.0 / 3));
    for (size_t i = 0; i < count; i++) strengths[i] *= deviation;
    const size_t width = static_cast<size_t>(task.width);
    const float** rows = task.scratch.take<const float*>(static_cast<size_t>(std::max(down.count, across.count)));
    for (int wave = 0; wave < across.count; wave++) rows[wave] = across.row(wave);
    float* lines = task.scratch.take<float>(width * static_cast<size_t>(down.count));
    for (size_t wave = 0; wave < static_cast<size_t>(down.count); wave++)
        weighted_sum(lines + wave * width, rows, strengths + wave * static_cast<size_t>(across.count), across.count, width);
    for (size_t wave = 0; wave < static_cast<size_t>(down.count); wave++) rows[wave] = lines + wave * width;
    float* weights = task.scratch.take<float>(static_cast<size_t>(down.count));
    for (int y = 0; y < task.height; y++) {
        for (int wave = 0; wave < down.count; wave++) weights[wave] = down.row(wave)[y];
        weighted_sum(field + static_cast<size_t>(y) * width, rows, weights, down.count, width);
    }
}

// A kernel of that sigma or more is wide.
constexpr double kWide = 8;

// Displacements down and to the right.
struct Displacements {
    float *down, *right;
};

Displacements draw_displacements(const Task& task, double alpha, double sigma) {
    const Displacements fields{task.scratch.take<float>(Random::rounded(task.num_pixels())),
                               task.scratch.take<float>(Random::rounded(task.num_pixels()))};
    if (sigma < kWide) {
        for (float* field : {fields.down, fields.right}) draw_rough(task, sigma, field);
    } else {
        const Waves down = waves_of(task.height, sigma, task.scratch);
        const Waves across = task.width == task.height ? down : waves_of(task.width, sigma, task.scratch);
        for (float* field : {fields.down, fields.right}) draw_smooth(task, down, across, field);
    }
    const float scale = static_cast<float>(alpha);
    for (float* field : {fields.down, fields.right})
        for (size_t i = 0; i < task.num_pixels(); i++) field[i] *= scale;
    return fields;
}

Sheet make_sheet(const Task& task) {
    return {task.scratch.take<Quad>(task.num_pixels()), task.height, task.width};
}

}  // namespace

// Parameters, in pixels of a picture of 224: alpha, which displacements are multiplied by, sigma of their smoothing, and
// how far the three points move. In other pictures displacements are the same share of the shorter side.
void elastic_transform(const Task& task) {
    const double share = std::min(task.height, task.width) / kPublishedSide;
    const Affine affine = draw_affine(task, task.parameters[2] * share);
    const double sigma = task.parameters[1] * share, alpha = task.parameters[0] * share * share;
    const Displacements moved = draw_displacements(task, alpha, sigma);
    const Sheet input = make_sheet(task), drawn = make_sheet(task);
    for (size_t i = 0; i < task.num_pixels(); i++) {
        const uint8_t* pixel = task.input + 3 * i;
        input.pixels[i] = Quad{static_cast<float>(pixel[0]), static_cast<float>(pixel[1]), static_cast<float>(pixel[2]), 0};
    }
    const int height = task.height, width = task.width;
    wide([=]() SHARDTOOLS_INLINE {
        for (int y = 0; y < height; y++) {
            Quad* line = drawn.pixels + static_cast<ptrdiff_t>(y) * width;
            const double x0 = affine.xy * y + affine.x0, y0 = affine.yy * y + affine.y0;
            for (int x = 0; x < width; x++)
                line[x] = sample<Border::kMirroredOnce>(input, static_cast<float>(affine.yx * x + y0),
                                                static_cast<float>(affine.xx * x + x0));
        }
    });
    uint8_t* output = task.output;
    const float rounding = rounding_of(task.clean);
    wide([=]() SHARDTOOLS_INLINE {
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                const size_t place = static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x);
                const Quad value = sample<Border::kMirrored>(drawn, static_cast<float>(y) + moved.down[place],
                                                          static_cast<float>(x) + moved.right[place]);
                for (size_t channel = 0; channel < 3; channel++)
                    output[3 * place + channel] = to_byte(value[channel], rounding);
            }
    });
}

}  // namespace shardtools
