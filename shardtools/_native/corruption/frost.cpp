// Frost: a share of the image, and a share of a picture of frost.
#include "bytes.h"
#include "corruption.h"
#include "frost_picture.h"
#include "wide.h"

namespace shardtools {

// a x + b frost, at a random place of a random picture; parameters: a, b. The picture goes on at its other border where
// the image is larger than what is left of it.
void frost(const Task& task) {
    const uint8_t* picture = frost_picture(static_cast<int>(task.random.below(kNumFrosts)));
    const int top = static_cast<int>(task.random.below(kFrostSide));
    const int left = static_cast<int>(task.random.below(kFrostSide));
    const float kept = static_cast<float>(task.parameters[0]), added = static_cast<float>(task.parameters[1]);
    const float rounding = rounding_of(task.clean);
    const size_t num_values = task.row_values();
    for (int y = 0; y < task.height; y++) {
        const uint8_t* line = picture + static_cast<size_t>((top + y) % kFrostSide) * kFrostSide * 3;
        const uint8_t* input = task.input + static_cast<size_t>(y) * num_values;
        uint8_t* output = task.output + static_cast<size_t>(y) * num_values;
        size_t place = static_cast<size_t>(left) * 3;
        for (size_t done = 0; done < num_values; place = 0) {
            const size_t rest = kFrostSide * 3 - place;
            const size_t count = rest < num_values - done ? rest : num_values - done;
            const uint8_t* pixels = input + done;
            const uint8_t* ice = line + place;
            uint8_t* target = output + done;
            wide([=]() SHARDTOOLS_INLINE {
                for (size_t i = 0; i < count; i++)
                    target[i] = to_byte(kept * static_cast<float>(pixels[i]) + added * static_cast<float>(ice[i]), rounding);
            });
            done += count;
        }
    }
}

}  // namespace shardtools
