// The image drawn out by three of its points, then by smooth fields of displacements.
#include <algorithm>
#include <cmath>

#include "bytes.h"
#include "corruption.h"
#include "curves.h"
#include "field.h"
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

// Mirrored at the outermost pixel, which stands there once.
int mirrored_once(int i, int size) {
    if (size == 1) return 0;
    const int period = 2 * (size - 1);
    const int folded = ((i % period) + period) % period;
    return folded < size ? folded : period - folded;
}

int mirrored_twice(int i, int size) { return inside(i, size, Border::kMirrored); }

// The value between four pixels; `beyond` says which pixel stands for one beyond the border.
template <int (*beyond)(int, int)>
SHARDTOOLS_INLINE inline Quad sample(const Sheet& sheet, float y, float x) {
    const float top = std::floor(y), left = std::floor(x);
    const float down = y - top, right = x - left;
    const int row = static_cast<int>(top), column = static_cast<int>(left);
    const Quad* pixels[4];
    if (row >= 0 && row + 1 < sheet.height && column >= 0 && column + 1 < sheet.width) {
        pixels[0] = sheet.pixels + static_cast<ptrdiff_t>(row) * sheet.width + column;
        pixels[1] = pixels[0] + 1;
        pixels[2] = pixels[0] + sheet.width;
        pixels[3] = pixels[2] + 1;
    } else {
        for (int i = 0; i < 4; i++)
            pixels[i] = sheet.pixels + static_cast<ptrdiff_t>(beyond(row + i / 2, sheet.height)) * sheet.width +
                        beyond(column + i % 2, sheet.width);
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

// The map that takes three points to three others; nothing is moved where the first three lie on one line.
Affine affine_of(const Point* from, const Point* to) {
    const double ax = from[1].x - from[0].x, ay = from[1].y - from[0].y;
    const double bx = from[2].x - from[0].x, by = from[2].y - from[0].y;
    const double area = ax * by - ay * bx;
    if (std::fabs(area) < 1e-9) return {1, 0, 0, 0, 1, 0};
    const double ux = to[1].x - to[0].x, uy = to[1].y - to[0].y;
    const double vx = to[2].x - to[0].x, vy = to[2].y - to[0].y;
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

// Uniform numbers, smoothed.
void draw_rough(const Task& task, double sigma, float* field) {
    task.random.uniforms(field, task.num_pixels());
    for (size_t i = 0; i < task.num_pixels(); i++) field[i] = field[i] * 2 - 1;
    smooth(field, task.height, task.width, gaussian_kernel(sigma, 3, task.scratch), Border::kMirrored, task.scratch);
}

// What a wide kernel leaves of mirrored noise: [count, padded(size)] waves of one axis, each times what is left of it.
struct Waves {
    int count;
    size_t stride;
    float* values;
};

constexpr double kFaintest = 1e-4;

Waves waves_of(int size, double sigma, Scratch& scratch) {
    const Kernel kernel = gaussian_kernel(sigma, 3, scratch);
    // Beyond that many half periods an uncut Gaussian leaves less than kFaintest.
    const int most = std::min(size, static_cast<int>(std::ceil(size * 4.3 / (kPi * sigma))) + 1);
    const size_t stride = padded(static_cast<size_t>(size));
    float* values = scratch.take<float>(stride * static_cast<size_t>(most));
    for (int wave = 0; wave < most; wave++) {
        const double turn = kPi * wave / size;
        double left = 0;
        for (int i = -kernel.radius; i <= kernel.radius; i++)
            left += static_cast<double>(kernel.weights[kernel.radius + i]) * cosine(turn * i);
        const double scale = left * std::sqrt((wave == 0 ? 1.0 : 2.0) / size);
        float* row = values + static_cast<size_t>(wave) * stride;
        for (int i = 0; i < size; i++) row[i] = static_cast<float>(scale * cosine(turn * (i + 0.5)));
        std::fill(row + size, row + stride, 0.0f);
    }
    return {most, stride, values};
}

// The same where the kernel is wide: a kernel over mirrored noise multiplies each of its cosine waves by a number, and
// all but the longest vanish. A wave of the noise is the sum of so many numbers that it is normal.
void draw_smooth(const Task& task, double sigma, float* field) {
    const Waves down = waves_of(task.height, sigma, task.scratch), across = waves_of(task.width, sigma, task.scratch);
    const size_t count = static_cast<size_t>(down.count) * static_cast<size_t>(across.count);
    float* strengths = task.scratch.take<float>(Random::rounded(count));
    task.random.normals(strengths, count);
    const float deviation = static_cast<float>(std::sqrt(1.0 / 3));
    for (size_t i = 0; i < count; i++) strengths[i] *= deviation;
    const float** rows = task.scratch.take<const float*>(static_cast<size_t>(std::max(down.count, across.count)));
    for (int wave = 0; wave < across.count; wave++) rows[wave] = across.values + static_cast<size_t>(wave) * across.stride;
    float* lines = task.scratch.take<float>(across.stride * static_cast<size_t>(down.count));
    for (int wave = 0; wave < down.count; wave++)
        weigh_rows(rows, strengths + static_cast<size_t>(wave) * static_cast<size_t>(across.count), across.count,
                   lines + static_cast<size_t>(wave) * across.stride, static_cast<size_t>(task.width));
    for (int wave = 0; wave < down.count; wave++) rows[wave] = lines + static_cast<size_t>(wave) * across.stride;
    float* weights = task.scratch.take<float>(static_cast<size_t>(down.count));
    float* line = task.scratch.take<float>(across.stride);
    for (int y = 0; y < task.height; y++) {
        for (int wave = 0; wave < down.count; wave++) weights[wave] = down.values[static_cast<size_t>(wave) * down.stride + y];
        weigh_rows(rows, weights, down.count, line, static_cast<size_t>(task.width));
        std::copy_n(line, task.width, field + static_cast<size_t>(y) * static_cast<size_t>(task.width));
    }
}

// A kernel of that sigma or more is wide.
constexpr double kWide = 8;

float* draw_displacements(const Task& task, double alpha, double sigma) {
    float* field = task.scratch.take<float>(Random::rounded(task.num_pixels()));
    if (sigma < kWide)
        draw_rough(task, sigma, field);
    else
        draw_smooth(task, sigma, field);
    const float scale = static_cast<float>(alpha);
    for (size_t i = 0; i < task.num_pixels(); i++) field[i] *= scale;
    return field;
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
    const float* down = draw_displacements(task, alpha, sigma);
    const float* right = draw_displacements(task, alpha, sigma);
    const Sheet input = make_sheet(task), drawn = make_sheet(task);
    for (size_t i = 0; i < task.num_pixels(); i++) {
        const uint8_t* pixel = task.input + 3 * i;
        input.pixels[i] = Quad{static_cast<float>(pixel[0]), static_cast<float>(pixel[1]), static_cast<float>(pixel[2]), 0};
    }
    for (int y = 0; y < task.height; y++) {
        Quad* line = drawn.pixels + static_cast<size_t>(y) * static_cast<size_t>(task.width);
        const double x0 = affine.xy * y + affine.x0, y0 = affine.yy * y + affine.y0;
        for (int x = 0; x < task.width; x++)
            line[x] = sample<mirrored_once>(input, static_cast<float>(affine.yx * x + y0),
                                            static_cast<float>(affine.xx * x + x0));
    }
    const float rounding = rounding_of(task.clean);
    for (int y = 0; y < task.height; y++) {
        for (int x = 0; x < task.width; x++) {
            const size_t place = static_cast<size_t>(y) * static_cast<size_t>(task.width) + static_cast<size_t>(x);
            const Quad value = sample<mirrored_twice>(drawn, static_cast<float>(y) + down[place],
                                                      static_cast<float>(x) + right[place]);
            for (size_t channel = 0; channel < 3; channel++) task.output[3 * place + channel] = to_byte(value[channel], rounding);
        }
    }
}

}  // namespace shardtools
