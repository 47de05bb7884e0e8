// How the pictures of frost are drawn: crystals with arms and barbs, raised from a cloudy ground, lit from one corner,
// with grain. Means and contrasts of the colors are those of crops of the published pictures of frost, which are not
// copied; of those, five were used, two of them the same but for their compression.
#include "frost_picture.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

#include "curves.h"
#include "filters.h"
#include "plasma.h"
#include "random.h"
#include "scratch.h"

namespace shardtools {
namespace {

constexpr int kSide = kFrostSide;
constexpr size_t kCount = static_cast<size_t>(kSide) * kSide;

struct Style {
    double mean[3], deviation[3];
    int num_crystals;
    double arm;         // length in pixels
    double most_arms;   // a crystal has 2 to as many
    double barb;        // length of the longest barb as a share of the arm
    double bend;        // degrees of the circle an arm bends by, at most
    // Shares of the ground, of the ice between the crystals, of heights, of light and of grain.
    double ground, ice, height, light, grain;
    double decay;  // of the ground's detail
};

constexpr Style kStyles[kNumFrosts] = {
    {{77, 148, 164}, {28, 16, 15}, 90, 90, 2, 0.25, 70, 1.0, 0.35, 0.2, 0.35, 0.12, 1.7},
    {{198, 202, 211}, {20, 21, 22}, 1100, 52, 3, 0.26, 20, 0.45, 0.5, 0.3, 0.75, 0.15, 1.5},
    {{198, 202, 211}, {20, 21, 22}, 900, 64, 3, 0.20, 25, 0.45, 0.5, 0.3, 0.75, 0.15, 1.5},
    {{144, 159, 172}, {27, 27, 28}, 480, 24, 6, 0.35, 10, 0.4, 0.3, 0.5, 0.75, 0.5, 1.4},
    {{101, 113, 125}, {38, 37, 36}, 420, 36, 6, 0.40, 12, 0.7, 0.35, 0.75, 0.5, 0.2, 1.5},
};

size_t wrapped(int y, int x) {
    static_assert((kSide & (kSide - 1)) == 0, "masks take the place of remainders");
    return static_cast<size_t>(y & (kSide - 1)) * kSide + static_cast<size_t>(x & (kSide - 1));
}

struct Pen {
    double x, y, angle;
};

// Raises the heights along a line that bends and grows thinner; returns where it ends.
Pen draw_line(float* heights, Pen pen, double length, double bend, double peak, double width) {
    constexpr double kPace = 0.7;
    const int num_steps = static_cast<int>(length / kPace) + 1;
    for (int step = 0; step < num_steps; step++) {
        const double rest = 1 - static_cast<double>(step) / num_steps;
        const double radius = 0.6 + width * rest;
        const int row = static_cast<int>(std::floor(pen.y)), column = static_cast<int>(std::floor(pen.x));
        const int reach = static_cast<int>(radius) + 1;
        for (int y = row - reach; y <= row + reach; y++)
            for (int x = column - reach; x <= column + reach; x++) {
                const double down = y - pen.y, right = x - pen.x;
                const double height = peak * (0.3 + 0.7 * rest) * (1 - (down * down + right * right) / (radius * radius));
                float& place = heights[wrapped(y, x)];
                if (height > place) place = static_cast<float>(height);
            }
        pen.x += kPace * cosine(pen.angle);
        pen.y += kPace * sine(pen.angle);
        pen.angle += bend / num_steps;
    }
    return pen;
}

// An arm is a line with barbs to both sides, shorter towards its tip.
void draw_arm(float* heights, Pen pen, const Style& style, double length, double peak, Random& random) {
    const double bend = random.uniform(-style.bend, style.bend) * kPi / 180, lean = random.uniform(0.6, 1.1);
    const int num_pieces = std::max(static_cast<int>(length / 4), 2);
    for (int piece = 0; piece < num_pieces; piece++) {
        const double rest = 1 - static_cast<double>(piece) / num_pieces;
        for (const double side : {-1.0, 1.0}) {
            const double barb = length * style.barb * rest * random.uniform(0.5, 1.0);
            draw_line(heights, {pen.x, pen.y, pen.angle + side * lean}, barb, 0.15 * side, peak * 0.75 * rest, 0.5);
        }
        pen = draw_line(heights, pen, length / num_pieces, bend / num_pieces, peak * (0.4 + 0.6 * rest), 1.1 * rest);
    }
}

void draw_crystals(float* heights, const Style& style, Random& random) {
    std::fill_n(heights, kCount, 0.0f);
    for (int crystal = 0; crystal < style.num_crystals; crystal++) {
        const Pen center{random.uniform(0, kSide), random.uniform(0, kSide), random.uniform(0, 2 * kPi)};
        const int num_arms = static_cast<int>(random.uniform(2, style.most_arms + 1));
        const double size = random.uniform(0.35, 1.0), peak = random.uniform(0.35, 1.0);
        // Six arms make a star; fewer lie in one fan.
        const double spread = style.most_arms > 3 ? 2 * kPi / style.most_arms : 0.5;
        for (int arm = 0; arm < num_arms; arm++) {
            const Pen pen{center.x, center.y, center.angle + spread * arm + random.uniform(-0.15, 0.15)};
            draw_arm(heights, pen, style, style.arm * size * random.uniform(0.6, 1.0), peak, random);
        }
    }
}

// Mean 0 and standard deviation 1.
void standardize(float* values) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < kCount; i++) sum += static_cast<double>(values[i]);
    const double mean = sum / kCount;
    for (size_t i = 0; i < kCount; i++) {
        const double distance = static_cast<double>(values[i]) - mean;
        squares += distance * distance;
    }
    const double scale = 1 / std::sqrt(squares / kCount);
    for (size_t i = 0; i < kCount; i++) values[i] = static_cast<float>((static_cast<double>(values[i]) - mean) * scale);
}

void add(float* sum, float* values, double share) {
    standardize(values);
    for (size_t i = 0; i < kCount; i++) sum[i] += static_cast<float>(share) * values[i];
}

void draw(uint8_t* picture, int number) {
    const Style& style = kStyles[number];
    Random random(static_cast<uint64_t>(number) + 1);
    Scratch scratch;
    float* sum = scratch.take<float>(kCount);
    float* heights = scratch.take<float>(kCount);
    float* lit = scratch.take<float>(kCount);
    std::fill_n(sum, kCount, 0.0f);
    draw_crystals(heights, style, random);
    for (int y = 0; y < kSide; y++)
        for (int x = 0; x < kSide; x++)
            lit[wrapped(y, x)] = heights[wrapped(y, x)] - heights[wrapped(y - 1, x - 2)];
    add(sum, draw_plasma(kSide, style.decay, random, scratch), style.ground);
    float* ice = scratch.take<float>(kCount);
    gaussian_blur(heights, ice, kSide, kSide, 1, 4, 3, Border::kWrapped, scratch);
    add(sum, ice, style.ice);
    add(sum, heights, style.height);
    add(sum, lit, style.light);
    float* grain = scratch.take<float>(kCount);
    random.normals(lit, kCount);
    gaussian_blur(lit, grain, kSide, kSide, 1, 0.7, 3, Border::kWrapped, scratch);
    add(sum, grain, style.grain);
    standardize(sum);
    for (size_t i = 0; i < kCount; i++)
        for (size_t channel = 0; channel < 3; channel++) {
            const double value = style.mean[channel] + style.deviation[channel] * static_cast<double>(sum[i]) + 0.5;
            picture[3 * i + channel] = static_cast<uint8_t>(std::min(std::max(value, 0.0), 255.0));
        }
}

// Without a lock, which a forked child could find held for ever: threads that come at once draw the same picture, and one
// of them is kept.
std::atomic<const uint8_t*> drawn[kNumFrosts];

}  // namespace

const uint8_t* frost_picture(int number) {
    std::atomic<const uint8_t*>& place = drawn[number];
    if (const uint8_t* found = place.load(std::memory_order_acquire)) return found;
    std::unique_ptr<uint8_t[]> picture(new uint8_t[kCount * 3]);
    draw(picture.get(), number);
    const uint8_t* expected = nullptr;
    if (place.compare_exchange_strong(expected, picture.get(), std::memory_order_acq_rel)) return picture.release();
    return expected;
}

}  // namespace shardtools
