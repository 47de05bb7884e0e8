// Antialiased resize of 8-bit RGB, the same to the last bit as Pillow's `Image.resize` without `reducing_gap`.
//
// Two passes, columns first. For output pixel i of n that cover [begin, end) of the source, centre c = begin +
// (i + 0.5) * s with s = (end - begin) / n, the filter f is stretched by max(s, 1) and its weights over the pixels
// within its support are normalised to sum 1, rounded to 22 binary digits, and summed in integers; each pass rounds to
// 8 bits. Weights are kept as digits that the machine's byte and word products take, so the sums stay exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace shardtools {

enum Filter : int { kArea = 0, kBilinear = 1, kBicubic = 2 };

// A weight w of four neighbouring source pixels, twice: as words, w = high * 2^11 + low, in pairs that lie next to one
// another; and as signed bytes, w = byte[2] * 2^16 + byte[1] * 2^8 + byte[0].
struct alignas(32) WeightGroup {
    int16_t high[4];
    int16_t low[4];
    int8_t byte[3][4];
};

// One axis of a resize: which source pixels make each output pixel.
struct Axis {
    int size = 0;                      // output pixels
    int groups = 0;                    // weight groups for each output pixel
    int begin = 0, end = 0;            // source pixels that are used at all
    std::vector<int> first;            // first source pixel of each output pixel, absolute
    std::vector<int> count;            // source pixels of each output pixel
    std::vector<WeightGroup> weights;  // [size, groups]
    std::vector<double> scratch;
};

struct AxisPlan {
    int origin;         // source pixel that the next three count from: sums round alike wherever a crop lies
    double begin, end;  // part of the source that becomes the full output
    int num_pixels;     // pixels of the source that exist, from the origin on
    int full;           // pixels of the full output ...
    int offset, size;   // ... of which only these are made
    bool reversed;
};

void make_axis(Axis& axis, Filter filter, const AxisPlan& plan);

// Rows of `axis.size` pixels from rows whose first pixel is source column `column`. May read 64 bytes behind the last
// source pixel and write 64 behind the last output pixel.
void resize_columns(const Axis& axis, const uint8_t* const* source, int column, uint8_t* const* target, int num_rows);

// All output rows from rows whose first one is source row `row`. Rows of the source are `stride` apart and padded to 64
// bytes; those of the target hold exactly num_bytes, back to back.
void resize_rows(const Axis& axis, const uint8_t* source, size_t stride, int row, int num_rows, uint8_t* target,
                 size_t num_bytes);

// "avx512vnni", "avx2" or "portable"; the first call finds the best one that the processor has.
const char* simd_name();
// For tests: another level; false where the processor lacks it.
bool choose_simd(const char* name);

}  // namespace shardtools
