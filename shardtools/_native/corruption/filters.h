// Linear filters of images of floats, [height, width * channels] row by row.
#pragma once

#include <cstddef>

#include "border.h"
#include "scratch.h"

namespace shardtools {

// out[i] = sum of weights[k] * rows[k][i], in the order of k.
void weighted_sum(float* out, const float* const* rows, const float* weights, int num_rows, size_t count);

// `pixels` pixels more on the left and as many on the right; `out` has room for them.
void pad_row(float* out, const float* row, int width, int channels, int pixels, Border border);

// As scipy.ndimage.gaussian_filter in both directions: weights up to int(truncate * sigma + 0.5) pixels away, sum 1.
// `input` and `output` may not be the same.
void gaussian_blur(const float* input, float* output, int height, int width, int channels, double sigma, double truncate,
                   Border border, Scratch& scratch);

// As ImageMagick's motion blur: half a Gaussian of 2 * radius + 1 pixels along a line in the direction of `angle`
// (radians, clockwise, 0 to the right), each pixel of it rounded to a whole one; nearest pixels beyond the border.
void motion_blur(const float* input, float* output, int height, int width, int channels, int radius, double sigma,
                 double angle, Scratch& scratch);

}  // namespace shardtools
