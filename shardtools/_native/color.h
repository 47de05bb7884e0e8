// Colour operations on 8-bit RGB, with the results of Pillow's ImageEnhance, ImageOps and ImageFilter.
//
// An image is worked on as three planes, so that every loop runs over neighbouring bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace shardtools {

// The numbers are part of the Python interface (shardtools/decode/options.py).
enum Operation : uint8_t {
    kNothing = 0,
    kBrightness = 1,  // value: factor
    kContrast = 2,    // factor
    kSaturation = 3,  // factor
    kHue = 4,         // part of the circle, -0.5 to 0.5
    kGrayscale = 5,   // none
    kBlur = 6,        // radius in pixels
    kSolarize = 7,    // threshold, 0 to 256
};

constexpr double kMaxBlurRadius = 64;

struct ColorScratch {
    std::vector<uint8_t> planes, turned, line;
};

// Applies operations in order to an image in place: [height, width, 3], contiguous.
void apply_colors(uint8_t* image, int width, int height, const uint8_t* operations, const double* values,
                   int num_operations, ColorScratch& scratch);

}  // namespace shardtools
