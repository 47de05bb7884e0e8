#include "color.h"

#include <algorithm>
#include <cmath>
#include <cstring>

// One source, several processors: glibc picks the clone when the module is loaded. Sanitizers do not go with it.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define SHARDTOOLS_CLONES __attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
#else
#define SHARDTOOLS_CLONES
#endif

namespace shardtools {
namespace {

struct Planes {
    uint8_t* red;
    uint8_t* green;
    uint8_t* blue;
    int width, height;
    size_t size() const { return static_cast<size_t>(width) * height; }
};

SHARDTOOLS_CLONES void split(const uint8_t* __restrict image, size_t count, uint8_t* __restrict red,
                             uint8_t* __restrict green, uint8_t* __restrict blue) {
    for (size_t i = 0; i < count; i++) {
        red[i] = image[3 * i];
        green[i] = image[3 * i + 1];
        blue[i] = image[3 * i + 2];
    }
}

SHARDTOOLS_CLONES void merge(const uint8_t* __restrict red, const uint8_t* __restrict green,
                             const uint8_t* __restrict blue, size_t count, uint8_t* __restrict image) {
    for (size_t i = 0; i < count; i++) {
        image[3 * i] = red[i];
        image[3 * i + 1] = green[i];
        image[3 * i + 2] = blue[i];
    }
}

// ITU-R 601-2 luma in 16 binary digits, as Pillow's conversion to "L".
inline int luma(int red, int green, int blue) { return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16; }

// Image.blend: from `base` to `value` and beyond, in single precision, truncated.
inline uint8_t blend(int base, int value, float factor) {
    const float mixed = static_cast<float>(base) + factor * static_cast<float>(value - base);
    return static_cast<uint8_t>(static_cast<int>(std::min(std::max(mixed, 0.0f), 255.0f)));
}

SHARDTOOLS_CLONES void blend_with(uint8_t* __restrict plane, size_t count, int base, float factor) {
    for (size_t i = 0; i < count; i++) plane[i] = blend(base, plane[i], factor);
}

SHARDTOOLS_CLONES void blend_with_luma(uint8_t* __restrict red, uint8_t* __restrict green, uint8_t* __restrict blue,
                                       size_t count, float factor) {
    for (size_t i = 0; i < count; i++) {
        const int gray = luma(red[i], green[i], blue[i]);
        red[i] = blend(gray, red[i], factor);
        green[i] = blend(gray, green[i], factor);
        blue[i] = blend(gray, blue[i], factor);
    }
}

SHARDTOOLS_CLONES uint64_t sum_of_luma(const uint8_t* __restrict red, const uint8_t* __restrict green,
                                       const uint8_t* __restrict blue, size_t count) {
    uint64_t total = 0;
    for (size_t begin = 0; begin < count; begin += 4096) {
        const size_t end = std::min(count, begin + 4096);
        uint32_t part = 0;
        for (size_t i = begin; i < end; i++) part += static_cast<uint32_t>(luma(red[i], green[i], blue[i]));
        total += part;
    }
    return total;
}

SHARDTOOLS_CLONES void to_luma(uint8_t* __restrict red, uint8_t* __restrict green, uint8_t* __restrict blue,
                               size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t gray = static_cast<uint8_t>(luma(red[i], green[i], blue[i]));
        red[i] = gray;
        green[i] = gray;
        blue[i] = gray;
    }
}

SHARDTOOLS_CLONES void solarize(uint8_t* __restrict plane, size_t count, int threshold) {
    for (size_t i = 0; i < count; i++)
        plane[i] = static_cast<uint8_t>(plane[i] < threshold ? plane[i] : 255 - plane[i]);
}

// Pixels of a block, widened once, so that all arithmetic runs in lanes of the same width.
constexpr size_t kBlock = 512;
struct Block {
    int red[kBlock], green[kBlock], blue[kBlock];
    int most[kBlock], range[kBlock], gap[kBlock], corner[kBlock], is_up[kBlock], hue[kBlock], saturation[kBlock];
};

// n / 255 for n below 65535.
inline int by_255(int n) { return (n + 1 + (n >> 8)) >> 8; }

// Choices by masks of all ones or zeros: branches, and the table that compilers make of several comparisons, keep a
// loop from being vectorised.
inline int choose(int mask, int yes, int no) { return no ^ ((yes ^ no) & mask); }
inline int is_same(int a, int b) { return ((a ^ b) - 1) >> 31; }

// To HSV in 8 bits, hue turned by `turn`, and back. A hue that is off by one is six levels off in a channel, so this
// has to round as Pillow's mixture of single and double precision does. The forward part in single precision and the
// backward part in integers do so for every colour and every turn, which was tried out for all of them.
//
// Where a colour lies: the hue, in sixths of the circle, is the odd number `corner` plus (`is_up`) or minus how far the
// middle channel lies below the highest, `gap` of `range`.
SHARDTOOLS_CLONES void find_corner(Block& block) {
    for (size_t i = 0; i < kBlock; i++) {
        const int r = block.red[i], g = block.green[i], b = block.blue[i];
        const int most = std::max(r, std::max(g, b)), least = std::min(r, std::min(g, b));
        const int is_red = r == most, is_green = (1 - is_red) & (g == most), is_blue = 1 - is_red - is_green;
        const int is_up = (is_red & (b != least)) | (is_green & (b == least)) | (is_blue & (r == least));
        block.most[i] = most;
        block.range[i] = most - least;
        block.gap[i] = 2 * most - r - g - b + least;
        block.corner[i] = 2 * is_green + 4 * is_blue + 1 - 2 * is_up;
        block.is_up[i] = 2 * is_up - 1;
    }
}

SHARDTOOLS_CLONES void find_hue(Block& block) {
    for (size_t i = 0; i < kBlock; i++) {
        const int range = block.range[i];
        const float gap = static_cast<float>(block.gap[i]) / static_cast<float>(std::max(range, 1));
        const float sixths = static_cast<float>(block.corner[i]) + static_cast<float>(block.is_up[i]) * gap;
        // Only from the corner at -1 the sum is negative, unless it is zero, and then the circle is gone round once.
        const int rounds = ((block.corner[i] >> 31) & 1) * (((block.gap[i] - range) >> 31) & 1);
        const float hue = (sixths / 6.0f + static_cast<float>(rounds)) * 255.0f;
        const float saturation = static_cast<float>(range) / static_cast<float>(std::max(block.most[i], 1)) * 255.0f;
        block.hue[i] = static_cast<int>(hue) * std::min(range, 1);
        block.saturation[i] = static_cast<int>(saturation);
    }
}

SHARDTOOLS_CLONES void make_color(Block& block, int turn) {
    for (size_t i = 0; i < kBlock; i++) {
        const int most = block.most[i], saturation = block.saturation[i];
        const int turned = 6 * ((block.hue[i] + turn) & 255);
        const int sector = by_255(turned);
        const int part = turned - 255 * sector;
        const int low = by_255(most * (255 - saturation) + 127);
        const int way = choose(-(sector & 1), part, 255 - part);
        // Divided by 65025: nearly in single precision, then put right. The sum has at most 24 binary digits.
        const int sum = most * (65025 - saturation * way) + 32512;
        const int near = static_cast<int>(static_cast<float>(sum) * (1.0f / 65025.0f));
        const int rest = sum - near * 65025;
        const int middle = near - ((65024 - rest) >> 31) + (rest >> 31);
        const int at_1 = is_same(sector, 1), at_2 = is_same(sector, 2), at_3 = is_same(sector, 3);
        const int at_4 = is_same(sector, 4), at_5 = is_same(sector, 5);
        block.red[i] = choose(at_2 | at_3, low, choose(at_1 | at_4, middle, most));
        block.green[i] = choose(at_4 | at_5, low, choose(at_1 | at_2, most, middle));
        block.blue[i] = choose(at_2 | at_5, middle, choose(at_3 | at_4, most, low));
    }
}

SHARDTOOLS_CLONES void widen(const uint8_t* __restrict plane, int* __restrict wide, size_t count) {
    for (size_t i = 0; i < count; i++) wide[i] = plane[i];
}

SHARDTOOLS_CLONES void narrow(const int* __restrict wide, uint8_t* __restrict plane, size_t count) {
    for (size_t i = 0; i < count; i++) plane[i] = static_cast<uint8_t>(wide[i]);
}

void turn_hue(const Planes& planes, int turn) {
    Block block = {};
    for (size_t begin = 0; begin < planes.size(); begin += kBlock) {
        const size_t count = std::min(kBlock, planes.size() - begin);
        widen(planes.red + begin, block.red, count);
        widen(planes.green + begin, block.green, count);
        widen(planes.blue + begin, block.blue, count);
        find_corner(block);
        find_hue(block);
        make_color(block, turn);
        narrow(block.red, planes.red + begin, count);
        narrow(block.green, planes.green + begin, count);
        narrow(block.blue, planes.blue + begin, count);
    }
}

// One pass of a box of fractional radius; weights are of 2^24.
struct Box {
    int radius;
    uint32_t inner, outer;
};

// P. Gwosdek et al., "Theoretical Foundations of Gaussian Convolution by Extended Box Filtering" (2011), as in Pillow:
// the box whose three passes have the variance of the Gaussian.
Box box_of(double radius) {
    constexpr int kPasses = 3;
    const float sigma = static_cast<float>(radius);
    const float variance = sigma * sigma / kPasses;
    const float length = static_cast<float>(std::sqrt(12.0 * variance + 1.0));
    const float whole = static_cast<float>(std::floor((length - 1.0) / 2.0));
    float rest = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
    rest /= 6 * (variance - (whole + 1) * (whole + 1));
    const float box_radius = whole + rest;
    Box box;
    box.radius = static_cast<int>(box_radius);
    box.inner = static_cast<uint32_t>((1 << 24) / (box_radius * 2 + 1));
    box.outer = ((1u << 24) - static_cast<uint32_t>(box.radius * 2 + 1) * box.inner) / 2;
    return box;
}

constexpr size_t kChunk = 64;

// One chunk of a line; `kSize` is 0 for a length that is known only now.
template <size_t kSize>
inline __attribute__((always_inline)) void box_chunk(const uint8_t* const* lines, int num_lines, size_t begin,
                                                     uint8_t* __restrict target, size_t length, uint32_t inner,
                                                     uint32_t outer) {
    const size_t size = kSize != 0 ? kSize : length;
    uint16_t sums[kChunk] = {};
    for (int k = 1; k < num_lines - 1; k++) {
        const uint8_t* line = lines[k] + begin;
        for (size_t i = 0; i < size; i++) sums[i] = static_cast<uint16_t>(sums[i] + line[i]);
    }
    const uint8_t* before = lines[0] + begin;
    const uint8_t* behind = lines[num_lines - 1] + begin;
    for (size_t i = 0; i < size; i++) {
        const uint32_t edge = static_cast<uint32_t>(before[i]) + behind[i];
        target[begin + i] = static_cast<uint8_t>((sums[i] * inner + edge * outer + (1u << 23)) >> 24);
    }
}

// The boxes of radius 0 and 1, which are all up to a blur of 2 pixels: the sum has a fixed number of terms.
template <int kLines>
inline __attribute__((always_inline)) void box_of_lines(const uint8_t* const* lines, uint8_t* __restrict target,
                                                        size_t count, uint32_t inner, uint32_t outer) {
    const uint8_t* __restrict before = lines[0];
    const uint8_t* __restrict first = lines[1];
    const uint8_t* __restrict second = kLines == 5 ? lines[2] : nullptr;
    const uint8_t* __restrict third = kLines == 5 ? lines[3] : nullptr;
    const uint8_t* __restrict behind = lines[kLines - 1];
    for (size_t i = 0; i < count; i++) {
        const uint32_t sum = kLines == 5 ? static_cast<uint32_t>(first[i]) + second[i] + third[i] : first[i];
        const uint32_t edge = static_cast<uint32_t>(before[i]) + behind[i];
        target[i] = static_cast<uint8_t>((sum * inner + edge * outer + (1u << 23)) >> 24);
    }
}

SHARDTOOLS_CLONES void box_line_3(const uint8_t* const* lines, uint8_t* __restrict target, size_t count,
                                  uint32_t inner, uint32_t outer) {
    box_of_lines<3>(lines, target, count, inner, outer);
}

SHARDTOOLS_CLONES void box_line_5(const uint8_t* const* lines, uint8_t* __restrict target, size_t count,
                                  uint32_t inner, uint32_t outer) {
    box_of_lines<5>(lines, target, count, inner, outer);
}

SHARDTOOLS_CLONES void box_line_any(const uint8_t* const* lines, int num_lines, uint8_t* __restrict target,
                                    size_t count, uint32_t inner, uint32_t outer) {
    size_t begin = 0;
    for (; begin + kChunk <= count; begin += kChunk)
        box_chunk<kChunk>(lines, num_lines, begin, target, kChunk, inner, outer);
    if (begin < count) box_chunk<0>(lines, num_lines, begin, target, count - begin, inner, outer);
}

// `lines[k]` holds the samples k - radius - 1 to the right of (or below) those of the output.
void box_line(const uint8_t* const* lines, int num_lines, uint8_t* target, size_t count, const Box& box) {
    if (num_lines == 3)
        box_line_3(lines, target, count, box.inner, box.outer);
    else if (num_lines == 5)
        box_line_5(lines, target, count, box.inner, box.outer);
    else
        box_line_any(lines, num_lines, target, count, box.inner, box.outer);
}

// Repeats the pixel at `source`, of three bytes, `count` times.
void fill_pixels(uint8_t* target, const uint8_t* source, int count) {
    for (int k = 0; k < count; k++) std::memcpy(target + 3 * k, source, 3);
}

// Along the rows of an RGB image: a neighbour is three bytes away, so all channels go through one line.
void blur_columns(uint8_t* image, int width, int height, const Box& box, std::vector<uint8_t>& scratch) {
    const int edge = box.radius + 1;
    const size_t length = 3 * static_cast<size_t>(width);
    scratch.resize(length + 6 * static_cast<size_t>(edge));
    const uint8_t* lines[2 * static_cast<int>(kMaxBlurRadius) + 5];
    for (int k = 0; k < 2 * edge + 1; k++) lines[k] = scratch.data() + 3 * k;
    for (int y = 0; y < height; y++) {
        uint8_t* row = image + static_cast<size_t>(y) * length;
        for (int pass = 0; pass < 3; pass++) {
            fill_pixels(scratch.data(), row, edge);
            std::memcpy(scratch.data() + 3 * edge, row, length);
            fill_pixels(scratch.data() + 3 * edge + length, row + length - 3, edge);
            box_line(lines, 2 * edge + 1, row, length, box);
        }
    }
}

void blur_rows(uint8_t* image, int width, int height, const Box& box, std::vector<uint8_t>& scratch) {
    const int edge = box.radius + 1;
    const size_t length = 3 * static_cast<size_t>(width);
    scratch.resize(length * static_cast<size_t>(height));
    const uint8_t* lines[2 * static_cast<int>(kMaxBlurRadius) + 5];
    uint8_t* source = image;
    uint8_t* target = scratch.data();
    for (int pass = 0; pass < 3; pass++) {
        for (int y = 0; y < height; y++) {
            for (int k = 0; k < 2 * edge + 1; k++)
                lines[k] = source + static_cast<size_t>(std::clamp(y + k - edge, 0, height - 1)) * length;
            box_line(lines, 2 * edge + 1, target + static_cast<size_t>(y) * length, length, box);
        }
        std::swap(source, target);
    }
    if (source != image) std::memcpy(image, source, length * static_cast<size_t>(height));
}

void blur(uint8_t* image, int width, int height, double radius, ColorScratch& scratch) {
    if (!(radius > 0)) return;
    const Box box = box_of(std::min(radius, kMaxBlurRadius));
    blur_columns(image, width, height, box, scratch.line);
    blur_rows(image, width, height, box, scratch.turned);
}

// Operations on bytes, whatever channel they are of; all others want the channels in planes.
bool is_of_bytes(uint8_t operation) {
    return operation == kNothing || operation == kBrightness || operation == kSolarize;
}

void apply_to_bytes(uint8_t* bytes, size_t count, uint8_t operation, double value) {
    if (operation == kBrightness)
        blend_with(bytes, count, 0, static_cast<float>(value));
    else if (operation == kSolarize)
        solarize(bytes, count, static_cast<int>(std::clamp(std::ceil(value), 0.0, 256.0)));
}

void apply(const Planes& planes, uint8_t operation, double value) {
    const size_t count = planes.size();
    const float factor = static_cast<float>(value);
    switch (operation) {
        case kContrast: {
            const double mean = static_cast<double>(sum_of_luma(planes.red, planes.green, planes.blue, count)) /
                                static_cast<double>(count);
            const int gray = static_cast<int>(mean + 0.5);
            for (uint8_t* plane : {planes.red, planes.green, planes.blue}) blend_with(plane, count, gray, factor);
            break;
        }
        case kSaturation:
            blend_with_luma(planes.red, planes.green, planes.blue, count, factor);
            break;
        case kHue:
            turn_hue(planes, static_cast<int>(value * 255) & 255);
            break;
        case kGrayscale:
            to_luma(planes.red, planes.green, planes.blue, count);
            break;
        default:
            break;
    }
}

}  // namespace

void apply_colors(uint8_t* image, int width, int height, const uint8_t* operations, const double* values,
                   int num_operations, ColorScratch& scratch) {
    if (std::all_of(operations, operations + num_operations, [](uint8_t code) { return code == kNothing; })) return;
    const size_t count = static_cast<size_t>(width) * height;
    scratch.planes.resize(3 * count);
    uint8_t* red = scratch.planes.data();
    const Planes planes{red, red + count, red + 2 * count, width, height};
    // The three planes follow each other, so bytes are bytes in either form.
    bool is_split = false;
    for (int i = 0; i < num_operations; i++) {
        const uint8_t operation = operations[i];
        if (is_of_bytes(operation)) {
            apply_to_bytes(is_split ? red : image, 3 * count, operation, values[i]);
            continue;
        }
        const bool wants_split = operation != kBlur;
        if (wants_split && !is_split) split(image, count, planes.red, planes.green, planes.blue);
        if (!wants_split && is_split) merge(planes.red, planes.green, planes.blue, count, image);
        is_split = wants_split;
        if (wants_split)
            apply(planes, operation, values[i]);
        else
            blur(image, width, height, values[i], scratch);
    }
    if (is_split) merge(planes.red, planes.green, planes.blue, count, image);
}

}  // namespace shardtools
