// One encoded image to all of its crops: decoded once, each row resized while it is in the cache.
#pragma once

#include <atomic>
#include <vector>

#include "color.h"
#include "decode.h"
#include "resize.h"

namespace shardtools {

// One crop of an image. `crop` is scaled to full_width x full_height, and of that the part at (left, top) with the size
// of the output is made, so that "resize the whole image, then cut out the middle" decodes no more than the middle.
struct CropTask {
    Rect crop;
    int full_width, full_height;
    int left, top;
    int width, height;
    bool flip;
    uint8_t* target;  // [height, width, 3], contiguous
    const uint8_t* operations;
    const double* values;
    int num_operations;
};

struct PictureOptions {
    Filter filter;
    Limits limits;
    bool allow_scaled;
};

// Nanoseconds of all threads together.
struct Times {
    std::atomic<int64_t> decode{0}, resize{0}, color{0};
};

// What a thread keeps from image to image, so that most images allocate nothing of their own.
struct Workspace {
    struct Crop {
        Axis columns, rows;
        std::vector<uint8_t> narrow;  // rows of the output's width, not yet of its height
        size_t stride;
    };
    std::vector<Crop> crops;
    std::vector<uint8_t> strip;
    ColorScratch colors;
};

// Fills every target, with zeros where the status is not kOk.
Status make_crops(const uint8_t* bytes, size_t length, const CropTask* tasks, int num_tasks,
                  const PictureOptions& options, Workspace& workspace, Times& times);

// As make_crops, from width x height RGB pixels that lie in memory row by row.
Status make_crops_of_pixels(const uint8_t* pixels, size_t length, int width, int height, const CropTask* tasks,
                            int num_tasks, const PictureOptions& options, Workspace& workspace, Times& times);

// Width and height from the header.
Status read_size(const uint8_t* bytes, size_t length, const Limits& limits, int* width, int* height);

}  // namespace shardtools
