#include "random.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "wide.h"

#ifdef SHARDTOOLS_X86
#include <immintrin.h>
#endif

namespace shardtools {
namespace {

constexpr size_t kLanes = Random::kBlock / 4;
constexpr int kRounds = 10;
constexpr uint32_t kMultiply[2] = {0xD2511F53u, 0xCD9E8D57u};
constexpr uint32_t kWeyl[2] = {0x9E3779B9u, 0xBB67AE85u};

// A block of the stream: word j of counter (block * kLanes + lane) at [j * kLanes + lane].
void fill_block(uint32_t* words, uint64_t seed, uint32_t stream, uint64_t block) {
    uint32_t* a = words;
    uint32_t* b = words + kLanes;
    uint32_t* c = words + 2 * kLanes;
    uint32_t* d = words + 3 * kLanes;
    const uint64_t first = block * kLanes;
    for (size_t lane = 0; lane < kLanes; lane++) {
        a[lane] = static_cast<uint32_t>(first) + static_cast<uint32_t>(lane);
        b[lane] = static_cast<uint32_t>(first >> 32);
        c[lane] = stream;
        d[lane] = 0;
    }
    uint32_t keys[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
    for (int round = 0; round < kRounds; round++) {
        for (size_t lane = 0; lane < kLanes; lane++) {
            const uint64_t left = uint64_t{kMultiply[0]} * a[lane];
            const uint64_t right = uint64_t{kMultiply[1]} * c[lane];
            a[lane] = static_cast<uint32_t>(right >> 32) ^ b[lane] ^ keys[0];
            b[lane] = static_cast<uint32_t>(right);
            c[lane] = static_cast<uint32_t>(left >> 32) ^ d[lane] ^ keys[1];
            d[lane] = static_cast<uint32_t>(left);
        }
        keys[0] += kWeyl[0];
        keys[1] += kWeyl[1];
    }
}

#ifdef SHARDTOOLS_X86
// Upper and lower halves of the products of eight lanes.
struct Halves {
    __m256i high, low;
};

__attribute__((target("avx2"))) inline Halves multiply(__m256i values, __m256i by) {
    const __m256i even = _mm256_mul_epu32(values, by), odd = _mm256_mul_epu32(_mm256_srli_epi64(values, 32), by);
    return {_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA),
            _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA)};
}

// The same, both halves of the lanes abreast.
__attribute__((target("avx2"))) void fill_block_avx2(uint32_t* words, uint64_t seed, uint32_t stream, uint64_t block) {
    constexpr int kHalves = 2;
    const uint64_t first = block * kLanes;
    __m256i a[kHalves], b[kHalves], c[kHalves], d[kHalves];
    for (int half = 0; half < kHalves; half++) {
        a[half] = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int32_t>(first + 8 * static_cast<uint64_t>(half))),
                                   _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        b[half] = _mm256_set1_epi32(static_cast<int32_t>(first >> 32));
        c[half] = _mm256_set1_epi32(static_cast<int32_t>(stream));
        d[half] = _mm256_setzero_si256();
    }
    uint32_t keys[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
    for (int round = 0; round < kRounds; round++) {
        for (int half = 0; half < kHalves; half++) {
            const Halves left = multiply(a[half], _mm256_set1_epi32(static_cast<int32_t>(kMultiply[0])));
            const Halves right = multiply(c[half], _mm256_set1_epi32(static_cast<int32_t>(kMultiply[1])));
            const __m256i first_key = _mm256_set1_epi32(static_cast<int32_t>(keys[0]));
            const __m256i second_key = _mm256_set1_epi32(static_cast<int32_t>(keys[1]));
            a[half] = _mm256_xor_si256(_mm256_xor_si256(right.high, b[half]), first_key);
            b[half] = right.low;
            c[half] = _mm256_xor_si256(_mm256_xor_si256(left.high, d[half]), second_key);
            d[half] = left.low;
        }
        keys[0] += kWeyl[0];
        keys[1] += kWeyl[1];
    }
    const __m256i* const columns[4] = {a, b, c, d};
    for (int word = 0; word < 4; word++)
        for (int half = 0; half < kHalves; half++)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(words + word * kLanes) + half, columns[word][half]);
}
#endif

void fill(uint32_t* words, uint64_t seed, uint32_t stream, uint64_t first_block, size_t num_blocks) {
    auto fill_one = fill_block;
#ifdef SHARDTOOLS_X86
    if (uses_avx2()) fill_one = fill_block_avx2;
#endif
    for (size_t block = 0; block < num_blocks; block++)
        fill_one(words + block * Random::kBlock, seed, stream, first_block + block);
}

// Some blocks of words at a time, made and used while they are near.
template <class Use>
void for_words(uint64_t seed, uint32_t stream, size_t count, const Use use) {
    constexpr size_t kBlocksAtOnce = 32;
    uint32_t words[kBlocksAtOnce * Random::kBlock];
    const size_t num_blocks = Random::rounded(count) / Random::kBlock;
    for (size_t block = 0; block < num_blocks; block += kBlocksAtOnce) {
        const size_t some = std::min(kBlocksAtOnce, num_blocks - block);
        fill(words, seed, stream, block, some);
        use(words, block * Random::kBlock, some * Random::kBlock);
    }
}

SHARDTOOLS_INLINE inline float float_of(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

SHARDTOOLS_INLINE inline uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// -2 ln(x / 2^24) for x of 0.5 to 2^24: ln m = 2 artanh((m - 1) / (m + 1)), m within a factor of sqrt 2 of 1, where four
// terms of the series leave 2e-8.
SHARDTOOLS_INLINE inline float minus_two_log(float x) {
    constexpr uint32_t kRootHalf = 0x3F3504F3u;
    const uint32_t shifted = bits_of(x) - kRootHalf;
    const int32_t exponent = static_cast<int32_t>(shifted) >> 23;
    const float m = float_of((shifted & 0x007FFFFFu) + kRootHalf);
    const float s = (m - 1.0f) / (m + 1.0f);
    const float q = s * s;
    const float series = s * (2.0f + q * (2.0f / 3 + q * (2.0f / 5 + q * (2.0f / 7))));
    return -2.0f * (static_cast<float>(exponent - 24) * 0.693147181f + series);
}

// Two words to two independent normal numbers. The upper two bits of the second say the quadrant, so sine and cosine are
// needed for an eighth of the circle to each side.
SHARDTOOLS_INLINE inline void box_muller(uint32_t first, uint32_t second, float& left, float& right) {
    const float radius = std::sqrt(minus_two_log(static_cast<float>(static_cast<int32_t>(first >> 8)) + 0.5f));
    const float turn = static_cast<float>(static_cast<int32_t>(second & 0x3FFFFFFFu)) * 0x1p-30f - 0.5f;
    const float t = turn * 1.57079633f;
    const float q = t * t;
    const float sine = t * (1.0f + q * (-1.0f / 6 + q * (1.0f / 120 + q * (-1.0f / 5040))));
    const float cosine = 1.0f + q * (-0.5f + q * (1.0f / 24 + q * (-1.0f / 720 + q * (1.0f / 40320))));
    const bool is_turned = (second & 0x40000000u) != 0;
    const uint32_t sign = second & 0x80000000u;
    // By quadrant: (c, s), (-s, c), (-c, -s), (s, -c).
    const float x = is_turned ? -sine : cosine;
    const float y = is_turned ? cosine : sine;
    left = radius * float_of(bits_of(x) ^ sign);
    right = radius * float_of(bits_of(y) ^ sign);
}

}  // namespace

void Random::bits(uint32_t* values, size_t count) { fill(values, seed_, stream_++, 0, rounded(count) / kBlock); }

void Random::uniforms(float* values, size_t count) {
    for_words(seed_, stream_++, count, [=](const uint32_t* words, size_t start, size_t size) {
        float* out = values + start;
        wide([=]() SHARDTOOLS_INLINE {
            for (size_t i = 0; i < size; i++) out[i] = static_cast<float>(static_cast<int32_t>(words[i] >> 8)) * 0x1p-24f;
        });
    });
}

void Random::normals(float* values, size_t count) {
    for_words(seed_, stream_++, count, [=](const uint32_t* words, size_t start, size_t size) {
        float* out = values + start;
        wide([=]() SHARDTOOLS_INLINE {
            constexpr size_t kHalf = kBlock / 2;
            for (size_t block = 0; block < size; block += kBlock)
                for (size_t i = block; i < block + kHalf; i++)
                    box_muller(words[i], words[i + kHalf], out[i], out[i + kHalf]);
        });
    });
}

double Random::uniform(double low, double high) {
    uint32_t words[kBlock];
    bits(words, 2);
    const uint64_t both = (uint64_t{words[0]} << 32) | words[1];
    return low + (high - low) * (static_cast<double>(both >> 11) * 0x1p-53);
}

uint32_t Random::below(uint32_t limit) {
    uint32_t words[kBlock];
    bits(words, 1);
    return static_cast<uint32_t>((uint64_t{words[0]} * limit) >> 32);
}

}  // namespace shardtools
