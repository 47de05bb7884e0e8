// Images turned, sheared, scaled and tilted: each pixel of a frame lies somewhere in the image, between four pixels.
#pragma once

#include <cstdint>

namespace shardtools {

struct Size {
    int height, width;
};

// What is cut out of a whole frame.
struct Window {
    int top, left;
    Size size;
};

// The 3 x 3 `matrix` takes a place (x, y, 1) in the whole frame to one in the image; what lies outside is black.

// As Pillow's transform: places are of the corners of pixels, a pixel whose middle is outside is black as a whole, and
// fractions are cut off. The last row of the matrix is not read.
void warp_affine(const uint8_t* image, Size size, const double* matrix, uint8_t* frame, Window window, bool clean);

// As OpenCV's warpPerspective: places are of the middles of pixels and rounded to 1/32 of a pixel, not where clean;
// black flows in at the border.
void warp_perspective(const uint8_t* image, Size size, const double* matrix, uint8_t* frame, Window window, bool clean);

}  // namespace shardtools
