#include "corruption.h"

namespace shardtools {

const Entry kCorruptions[] = {
    {"gaussian_noise", gaussian_noise, 1},
    {"snow", snow, 7},
    {"frost", frost, 2},
    {"fog", fog, 2},
    {"brightness", brightness, 1},
    {"contrast", contrast, 1},
    {"elastic_transform", elastic_transform, 3},
    {"pixelate", pixelate, 1},
    {"jpeg_compression", jpeg_compression, 1},
    {"spatter", spatter, 6},
    {"saturate", saturate, 2},
    {nullptr, nullptr, 0},
};

}  // namespace shardtools
