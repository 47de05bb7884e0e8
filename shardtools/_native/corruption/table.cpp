#include "corruption.h"

namespace shardtools {

const Entry kCorruptions[] = {
    {"gaussian_noise", gaussian_noise, 1},
    {nullptr, nullptr, 0},
};

}  // namespace shardtools
