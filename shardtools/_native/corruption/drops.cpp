#include "drops.h"

#include <algorithm>
#include <cstdlib>

#include "border.h"

namespace shardtools {
namespace {

// Gradients that make an outline, and those that continue one.
constexpr int kStrong = 150, kWeak = 50;
// Beyond that distance all is the same.
constexpr float kFarthest = 20;
// Lengths of a step to the side, over a corner, and of a knight (Borgefors, "Distance transformations in digital
// images", 1986), in 2^-16 pixels.
constexpr int32_t kStraight = 1 << 16, kDiagonal = 91750, kKnight = 143976;

struct Frame {
    int height, width;
    size_t count() const { return static_cast<size_t>(height) * static_cast<size_t>(width); }
    size_t at(int y, int x) const { return static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x); }
};

// Mirrored at the outermost pixel, which stands there once.
int mirrored(int i, int size) { return inside(i, size, Border::kMirroredOnce); }

struct Gradient {
    int16_t x, y;
    int size() const { return std::abs(x) + std::abs(y); }
};

// Sobel's, the outermost pixels repeated.
Gradient* gradients_of(const uint8_t* depth, const Frame& frame, Scratch& scratch) {
    Gradient* gradients = scratch.take<Gradient>(frame.count());
    for (int y = 0; y < frame.height; y++) {
        const uint8_t* above = depth + frame.at(std::max(y - 1, 0), 0);
        const uint8_t* here = depth + frame.at(y, 0);
        const uint8_t* below = depth + frame.at(std::min(y + 1, frame.height - 1), 0);
        for (int x = 0; x < frame.width; x++) {
            const int left = std::max(x - 1, 0), right = std::min(x + 1, frame.width - 1);
            const int across = above[right] + 2 * here[right] + below[right] - above[left] - 2 * here[left] - below[left];
            const int down = below[left] + 2 * below[x] + below[right] - above[left] - 2 * above[x] - above[right];
            gradients[frame.at(y, x)] = {static_cast<int16_t>(across), static_cast<int16_t>(down)};
        }
    }
    return gradients;
}

int size_at(const Gradient* gradients, const Frame& frame, int y, int x) {
    if (y < 0 || y >= frame.height || x < 0 || x >= frame.width) return 0;
    return gradients[frame.at(y, x)].size();
}

// Whether the gradient is largest here among its neighbors in its direction, which is one of four.
bool is_ridge(const Gradient* gradients, const Frame& frame, int y, int x) {
    const Gradient here = gradients[frame.at(y, x)];
    const int size = here.size(), across = std::abs(here.x), down = std::abs(here.y) << 15;
    // The tangent of 22.5 degrees in 2^-15.
    const int flat = across * 13573;
    if (down < flat)
        return size > size_at(gradients, frame, y, x - 1) && size >= size_at(gradients, frame, y, x + 1);
    if (down > flat + (across << 16))
        return size > size_at(gradients, frame, y - 1, x) && size >= size_at(gradients, frame, y + 1, x);
    const int slant = (here.x ^ here.y) < 0 ? -1 : 1;
    return size > size_at(gradients, frame, y - 1, x - slant) && size > size_at(gradients, frame, y + 1, x + slant);
}

enum Mark : uint8_t { kNothing, kMaybe, kOutline };

// Ridges that are strong, or are joined to one that is (J. Canny, "A computational approach to edge detection", 1986).
uint8_t* outlines_of(const uint8_t* depth, const Frame& frame, Scratch& scratch) {
    const Gradient* gradients = gradients_of(depth, frame, scratch);
    uint8_t* marks = scratch.take<uint8_t>(frame.count());
    uint32_t* waiting = scratch.take<uint32_t>(frame.count());
    size_t num_waiting = 0;
    for (int y = 0; y < frame.height; y++) {
        for (int x = 0; x < frame.width; x++) {
            const size_t place = frame.at(y, x);
            const int size = gradients[place].size();
            marks[place] = kNothing;
            if (size <= kWeak || !is_ridge(gradients, frame, y, x)) continue;
            marks[place] = size > kStrong ? kOutline : kMaybe;
            if (size > kStrong) waiting[num_waiting++] = static_cast<uint32_t>(place);
        }
    }
    while (num_waiting > 0) {
        const uint32_t place = waiting[--num_waiting];
        const uint32_t width = static_cast<uint32_t>(frame.width);
        const int row = static_cast<int>(place / width), column = static_cast<int>(place % width);
        for (int y = std::max(row - 1, 0); y <= std::min(row + 1, frame.height - 1); y++)
            for (int x = std::max(column - 1, 0); x <= std::min(column + 1, frame.width - 1); x++)
                if (marks[frame.at(y, x)] == kMaybe) {
                    marks[frame.at(y, x)] = kOutline;
                    waiting[num_waiting++] = static_cast<uint32_t>(frame.at(y, x));
                }
    }
    return marks;
}

// Distance to the nearest outline in pixels, at most kFarthest: one pass down and one up over a frame with two pixels
// of border.
float* distances_to(const uint8_t* marks, const Frame& frame, Scratch& scratch) {
    constexpr int32_t kFar = 1 << 29;
    const ptrdiff_t stride = frame.width + 4;
    int32_t* paths = scratch.take<int32_t>(static_cast<size_t>(stride) * static_cast<size_t>(frame.height + 4));
    std::fill_n(paths, stride * (frame.height + 4), kFar);
    const ptrdiff_t before[8] = {-2 * stride - 1, -2 * stride + 1, -stride - 2, -stride - 1, -stride, -stride + 1, -stride + 2, -1};
    constexpr int32_t kSteps[8] = {kKnight, kKnight, kKnight, kDiagonal, kStraight, kDiagonal, kKnight, kStraight};
    float* distances = scratch.take<float>(frame.count());
    for (int y = 0; y < frame.height; y++) {
        int32_t* path = paths + (y + 2) * stride + 2;
        for (int x = 0; x < frame.width; x++, path++) {
            int32_t least = marks[frame.at(y, x)] == kOutline ? 0 : kFar;
            for (int i = 0; i < 8; i++) least = std::min(least, path[before[i]] + kSteps[i]);
            *path = least;
        }
    }
    for (int y = frame.height - 1; y >= 0; y--) {
        int32_t* path = paths + (y + 2) * stride + 2 + frame.width - 1;
        for (int x = frame.width - 1; x >= 0; x--, path--) {
            int32_t least = *path;
            for (int i = 0; i < 8; i++) least = std::min(least, path[-before[i]] + kSteps[i]);
            *path = least;
            distances[frame.at(y, x)] = std::min(static_cast<float>(least) * 0x1p-16f, kFarthest);
        }
    }
    return distances;
}

// The mean of nine pixels.
template <class Value, class Target, class Finish>
void blur(const Value* values, Target* means, const Frame& frame, Finish finish) {
    for (int y = 0; y < frame.height; y++) {
        const int rows[3] = {mirrored(y - 1, frame.height), y, mirrored(y + 1, frame.height)};
        for (int x = 0; x < frame.width; x++) {
            const int columns[3] = {mirrored(x - 1, frame.width), x, mirrored(x + 1, frame.width)};
            decltype(values[0] + values[0]) sum = 0;
            for (const int row : rows)
                for (const int column : columns) sum += values[frame.at(row, column)];
            means[frame.at(y, x)] = finish(sum);
        }
    }
}

// Levels such that each is as frequent as the next.
void equalize(uint8_t* levels, const Frame& frame) {
    size_t counts[256] = {};
    for (size_t i = 0; i < frame.count(); i++) counts[levels[i]]++;
    int first = 0;
    while (counts[first] == 0) first++;
    if (counts[first] == frame.count()) return;
    const float scale = 255.0f / static_cast<float>(frame.count() - counts[first]);
    uint8_t table[256] = {};
    size_t sum = 0;
    for (int level = first + 1; level < 256; level++) {
        sum += counts[level];
        table[level] = static_cast<uint8_t>(std::min(static_cast<int>(static_cast<float>(sum) * scale + 0.5f), 255));
    }
    for (size_t i = 0; i < frame.count(); i++) levels[i] = table[levels[i]];
}

// Light from the lower right.
void light(const uint8_t* levels, uint8_t* lit, const Frame& frame) {
    constexpr int kWeights[3][3] = {{-2, -1, 0}, {-1, 1, 1}, {0, 1, 2}};
    for (int y = 0; y < frame.height; y++) {
        const int rows[3] = {mirrored(y - 1, frame.height), y, mirrored(y + 1, frame.height)};
        for (int x = 0; x < frame.width; x++) {
            const int columns[3] = {mirrored(x - 1, frame.width), x, mirrored(x + 1, frame.width)};
            int sum = 0;
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) sum += kWeights[i][j] * levels[frame.at(rows[i], columns[j])];
            lit[frame.at(y, x)] = static_cast<uint8_t>(std::min(std::max(sum, 0), 255));
        }
    }
}

}  // namespace

uint8_t* shade_drops(const uint8_t* depth, int height, int width, Scratch& scratch) {
    const Frame frame{height, width};
    const float* distances = distances_to(outlines_of(depth, frame, scratch), frame, scratch);
    uint8_t* levels = scratch.take<uint8_t>(frame.count());
    uint8_t* lit = scratch.take<uint8_t>(frame.count());
    blur(distances, levels, frame, [](float sum) { return static_cast<uint8_t>(static_cast<int>(sum / 9)); });
    equalize(levels, frame);
    light(levels, lit, frame);
    blur(lit, levels, frame, [](int sum) { return static_cast<uint8_t>((sum * 2 + 9) / 18); });
    return levels;
}

}  // namespace shardtools
