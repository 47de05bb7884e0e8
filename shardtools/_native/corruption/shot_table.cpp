#include "shot_table.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <vector>

namespace shardtools {
namespace {

struct Kept {
    double photons;
    bool clean;
    int bits;
    std::vector<uint32_t> entries;
};

// Filled from the front; a table stays for as long as the process.
std::atomic<const Kept*> kept_tables[16];

int bits_for(double photons) {
    int bits = 1;
    while ((1 << bits) < photons + 1) bits++;
    return bits;
}

uint8_t result_of(int count, double photons, bool clean) {
    const double value = std::min(count / photons, 1.0) * 255;
    return static_cast<uint8_t>(clean ? value + 0.5 : value);
}

// How likely each count is; the last one stands for all from there on, which are white alike.
void fill_chances(double* chances, int num_counts, double rate) {
    // From the likeliest count to both sides, since e^-rate itself may be too small for a double.
    const int middle = std::min(static_cast<int>(rate), num_counts - 1);
    std::fill(chances, chances + num_counts, 0.0);
    double total = 0, chance = 1;
    const int end = static_cast<int>(rate + 40 * std::sqrt(rate) + 60);
    for (int count = middle; count < end; count++) {
        chances[std::min(count, num_counts - 1)] += chance;
        total += chance;
        chance *= rate / (count + 1);
    }
    chance = 1;
    for (int count = middle; count > 0 && chance > 0; count--) {
        chance *= count / rate;
        chances[count - 1] += chance;
        total += chance;
    }
    for (int count = 0; count < num_counts; count++) chances[count] /= total;
}

void fill_row(uint32_t* row, int value, double photons, int bits, bool clean, double* chances, int* small, int* large) {
    const int num_slots = 1 << bits;
    const int num_counts = static_cast<int>(std::ceil(photons)) + 1;
    std::fill(chances, chances + num_slots, 0.0);
    fill_chances(chances, num_counts, value / 255.0 * photons);
    int num_small = 0, num_large = 0;
    for (int slot = 0; slot < num_slots; slot++) {
        chances[slot] *= num_slots;
        if (chances[slot] < 1)
            small[num_small++] = slot;
        else
            large[num_large++] = slot;
    }
    const auto put = [&](int slot, int other, double share) {
        const uint32_t part = static_cast<uint32_t>(std::min(share * 65536 + 0.5, 65535.0));
        row[slot] = part << 16 | uint32_t{result_of(slot, photons, clean)} << 8 | result_of(other, photons, clean);
    };
    // A slot that holds less than its due is filled up by one that holds more.
    while (num_small > 0 && num_large > 0) {
        const int slot = small[--num_small], other = large[num_large - 1];
        put(slot, other, chances[slot]);
        chances[other] -= 1 - chances[slot];
        if (chances[other] < 1) small[num_small++] = large[--num_large];
    }
    while (num_large > 0) {
        const int slot = large[--num_large];
        put(slot, slot, 1);
    }
    while (num_small > 0) {
        const int slot = small[--num_small];
        put(slot, slot, 1);
    }
}

void fill_table(uint32_t* entries, double photons, int bits, bool clean) {
    const size_t num_slots = size_t{1} << bits;
    std::vector<double> chances(num_slots);
    std::vector<int> small(num_slots), large(num_slots);
    for (int value = 0; value < 256; value++)
        fill_row(entries + static_cast<size_t>(value) * num_slots, value, photons, bits, clean, chances.data(),
                 small.data(), large.data());
}

}  // namespace

ShotTable find_shot_table(double asked, bool clean, Scratch& scratch) {
    const double photons = std::clamp(asked, 1.0, 8000.0);
    const int bits = bits_for(photons);
    const size_t size = size_t{256} << bits;
    for (std::atomic<const Kept*>& place : kept_tables) {
        const Kept* kept = place.load(std::memory_order_acquire);
        if (kept == nullptr) {
            auto made = std::make_unique<Kept>(Kept{photons, clean, bits, std::vector<uint32_t>(size)});
            fill_table(made->entries.data(), photons, bits, clean);
            // Whoever comes second takes what is there, if it is the same, and else goes on to the next place.
            if (place.compare_exchange_strong(kept, made.get(), std::memory_order_acq_rel)) kept = made.release();
        }
        if (kept->photons == photons && kept->clean == clean) return {kept->entries.data(), bits};
    }
    uint32_t* entries = scratch.take<uint32_t>(size);
    fill_table(entries, photons, bits, clean);
    return {entries, bits};
}

}  // namespace shardtools
