#include "corruption.h"

namespace shardtools {

const Entry kCorruptions[] = {
    {"gaussian_noise", gaussian_noise, 1},
    {"shot_noise", shot_noise, 1},
    {"impulse_noise", impulse_noise, 1},
    {"defocus_blur", defocus_blur, 2},
    {"glass_blur", glass_blur, 3},
    {"motion_blur", motion_blur, 2},
    {"zoom_blur", zoom_blur, 2},
    {"snow", snow, 7},
    {"frost", frost, 2},
    {"fog", fog, 2},
    {"brightness", brightness, 1},
    {"contrast", contrast, 1},
    {"elastic_transform", elastic_transform, 3},
    {"pixelate", pixelate, 1},
    {"jpeg_compression", jpeg_compression, 1},
    {"speckle_noise", speckle_noise, 1},
    {"gaussian_blur", gaussian_blur, 1},
    {"spatter", spatter, 6},
    {"saturate", saturate, 2},
    {nullptr, nullptr, 0},
};

const Entry kFrames[] = {
    {"motion_blur_toward", motion_blur_toward, 3},
    {"snow_toward", snow_toward, 8},
    {"gaussian_blur_within", gaussian_blur_within, 2},
    {"spatter_after", spatter_after, 7},
    {nullptr, nullptr, 0},
};

}  // namespace shardtools
