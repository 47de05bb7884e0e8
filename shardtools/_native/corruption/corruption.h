// What every corruption is given, and the corruptions by name.
//
// A corruption is a function of one image: it reads `input`, writes all of `output`, draws from `random` alone, and
// takes memory from `scratch` alone (throws std::bad_alloc, nothing else). Any height and width from 1 on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "random.h"
#include "scratch.h"

namespace shardtools {

struct Task {
    const uint8_t* input;  // [height, width, 3], contiguous
    uint8_t* output;       // the same; never overlaps with input
    int height, width;
    const double* parameters;  // of one severity, as many as the entry of the table says
    bool clean;                // rounds instead of cutting off; without the published code's accidents
    Random& random;
    Scratch& scratch;

    size_t row_values() const { return static_cast<size_t>(width) * 3; }
    size_t num_pixels() const { return static_cast<size_t>(height) * static_cast<size_t>(width); }
    size_t num_values() const { return num_pixels() * 3; }
};

// A family a file: noise.cpp, ...
void gaussian_noise(const Task& task);
void shot_noise(const Task& task);
void impulse_noise(const Task& task);
void defocus_blur(const Task& task);
void glass_blur(const Task& task);
void motion_blur(const Task& task);
void zoom_blur(const Task& task);
void snow(const Task& task);
void frost(const Task& task);
void fog(const Task& task);
void brightness(const Task& task);
void contrast(const Task& task);
void elastic_transform(const Task& task);
void pixelate(const Task& task);
void jpeg_compression(const Task& task);
void speckle_noise(const Task& task);
void gaussian_blur(const Task& task);
void spatter(const Task& task);
void saturate(const Task& task);

// Frames of a perturbation (shardtools/corruption/sequences.py), which are told what a corruption draws or has fixed. Each
// takes the parameters of its corruption and one more: the direction in degrees, pixels per sigma, steps of flowing.
void motion_blur_toward(const Task& task);
void snow_toward(const Task& task);
void gaussian_blur_within(const Task& task);
void spatter_after(const Task& task);

struct Entry {
    const char* name;
    void (*corrupt)(const Task& task);
    int num_parameters;
};

// Ends with an entry without a name. What the parameters mean: shardtools/corruption/registry.py.
extern const Entry kCorruptions[];
extern const Entry kFrames[];

}  // namespace shardtools
