#include "resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#define SHARDTOOLS_X86 1
#include <immintrin.h>
#endif

namespace shardtools {
namespace {

constexpr int kPrecision = 22;
constexpr int kHalf = 1 << (kPrecision - 1);
constexpr int kTaps = 4;

double area(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double bilinear(double x) {
    x = std::fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

// R. Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981), a = -0.5.
double bicubic(double x) {
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

struct FilterShape {
    double (*weight)(double);
    double support;
};

constexpr FilterShape kFilters[] = {{area, 0.5}, {bilinear, 1.0}, {bicubic, 2.0}};

void put_weight(WeightGroup& group, int tap, int weight) {
    const int low = weight & 2047;
    group.low[tap] = static_cast<int16_t>(low);
    group.high[tap] = static_cast<int16_t>((weight - low) / 2048);
    for (int digit = 0; digit < 3; digit++) {
        const int8_t byte = static_cast<int8_t>(static_cast<uint8_t>(weight));
        group.byte[digit][tap] = byte;
        weight = (weight - byte) / 256;
    }
}

// Middle of an output pixel in the source.
double center_of(const AxisPlan& plan, double scale, int i) {
    const int position = plan.reversed ? plan.size - 1 - i : i;
    return plan.begin + (plan.offset + position + 0.5) * scale;
}

int weight_of(const WeightGroup& group, int tap) { return group.high[tap] * 2048 + group.low[tap]; }

inline uint8_t to_byte(int sum) { return static_cast<uint8_t>(std::clamp(sum >> kPrecision, 0, 255)); }

}  // namespace

void make_axis(Axis& axis, Filter filter, const AxisPlan& plan) {
    const FilterShape shape = kFilters[filter];
    const double scale = (plan.end - plan.begin) / plan.full;
    const double stretch = std::max(scale, 1.0);
    const double support = shape.support * stretch;

    axis.size = plan.size;
    axis.first.resize(static_cast<size_t>(plan.size));
    axis.count.resize(static_cast<size_t>(plan.size));
    axis.begin = plan.num_pixels;
    axis.end = 0;
    int most = 1;
    for (int i = 0; i < plan.size; i++) {
        const double center = center_of(plan, scale, i);
        // As Pillow: the conversion truncates, so what is below zero is cut off behind it.
        const int first = std::clamp(static_cast<int>(center - support + 0.5), 0, plan.num_pixels - 1);
        const int last = std::clamp(static_cast<int>(center + support + 0.5), first + 1, plan.num_pixels);
        axis.first[static_cast<size_t>(i)] = first;
        axis.count[static_cast<size_t>(i)] = last - first;
        axis.begin = std::min(axis.begin, first);
        axis.end = std::max(axis.end, last);
        most = std::max(most, last - first);
    }

    axis.groups = (most + kTaps - 1) / kTaps;
    axis.weights.assign(static_cast<size_t>(plan.size) * axis.groups, WeightGroup{});
    axis.scratch.resize(static_cast<size_t>(most));
    // Whole groups are read. Where they would reach behind the last pixel that is used, they begin earlier.
    const int last_start = std::max(axis.begin, axis.end - axis.groups * kTaps);
    const double inverse = 1.0 / stretch;
    double* weights = axis.scratch.data();
    for (int i = 0; i < plan.size; i++) {
        int& first = axis.first[static_cast<size_t>(i)];
        const int count = axis.count[static_cast<size_t>(i)];
        const double center = center_of(plan, scale, i);
        double total = 0;
        for (int tap = 0; tap < count; tap++) {
            weights[tap] = shape.weight((tap + first - center + 0.5) * inverse);
            total += weights[tap];
        }
        const int shift = std::max(0, first - last_start);
        first += plan.origin - shift;
        WeightGroup* groups = &axis.weights[static_cast<size_t>(i) * axis.groups];
        for (int tap = 0; tap < count; tap++) {
            const double weight = (total != 0 ? weights[tap] / total : weights[tap]) * (1 << kPrecision);
            const int rounded = static_cast<int>(weight < 0 ? weight - 0.5 : weight + 0.5);
            put_weight(groups[(tap + shift) / kTaps], (tap + shift) % kTaps, rounded);
        }
    }
    axis.begin += plan.origin;
    axis.end += plan.origin;
}

// ---- portable ----

namespace {

void columns_portable(const Axis& axis, const uint8_t* const* source, int column, uint8_t* const* target,
                      int num_rows) {
    const int taps = axis.groups * kTaps;
    for (int row = 0; row < num_rows; row++) {
        uint8_t* out = target[row];
        for (int x = 0; x < axis.size; x++, out += 3) {
            const uint8_t* in = source[row] + 3 * static_cast<ptrdiff_t>(axis.first[x] - column);
            const WeightGroup* groups = &axis.weights[static_cast<size_t>(x) * axis.groups];
            int red = kHalf, green = kHalf, blue = kHalf;
            for (int tap = 0; tap < taps; tap++) {
                const int weight = weight_of(groups[tap / kTaps], tap % kTaps);
                if (weight == 0) continue;
                red += in[3 * tap] * weight;
                green += in[3 * tap + 1] * weight;
                blue += in[3 * tap + 2] * weight;
            }
            out[0] = to_byte(red);
            out[1] = to_byte(green);
            out[2] = to_byte(blue);
        }
    }
}

// The row that tap `tap` of an output row reads; behind the last one every weight is zero.
inline const uint8_t* row_of(const uint8_t* source, size_t stride, int row, int num_rows) {
    return source + stride * static_cast<size_t>(std::min(row, num_rows - 1));
}

void row_portable(const WeightGroup* groups, int num_groups, const uint8_t* source, size_t stride, int first,
                  int num_rows, uint8_t* target, size_t begin, size_t end) {
    for (size_t x = begin; x < end; x++) {
        int sum = kHalf;
        for (int tap = 0; tap < num_groups * kTaps; tap++) {
            const int weight = weight_of(groups[tap / kTaps], tap % kTaps);
            if (weight != 0) sum += row_of(source, stride, first + tap, num_rows)[x] * weight;
        }
        target[x - begin] = to_byte(sum);
    }
}

#ifdef SHARDTOOLS_X86

// ---- AVX2: pairs of pixels times pairs of words ----

#define SHARDTOOLS_AVX2 __attribute__((target("avx2")))

SHARDTOOLS_AVX2 inline __m256i broadcast(const int16_t* pair) {
    int32_t bits;
    std::memcpy(&bits, pair, sizeof(bits));
    return _mm256_set1_epi32(bits);
}

SHARDTOOLS_AVX2 inline __m256i rounded(__m256i high, __m256i low) {
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, 11), _mm256_add_epi32(low, _mm256_set1_epi32(kHalf)));
    return _mm256_srai_epi32(sum, kPrecision);
}

inline void store_4(uint8_t* target, int bytes) { std::memcpy(target, &bytes, 4); }

// Two rows at a time, one in each half of a register.
SHARDTOOLS_AVX2 void columns_avx2(const Axis& axis, const uint8_t* const* source, int column, uint8_t* const* target,
                                  int num_rows) {
    const __m256i pixels_01 = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    const __m256i pixels_23 = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
    for (int row = 0; row < num_rows; row += 2) {
        const int other = std::min(row + 1, num_rows - 1);
        const uint8_t* in_0 = source[row];
        const uint8_t* in_1 = source[other];
        uint8_t* out_0 = target[row];
        uint8_t* out_1 = target[other];
        const WeightGroup* groups = axis.weights.data();
        for (int x = 0; x < axis.size; x++) {
            ptrdiff_t offset = 3 * static_cast<ptrdiff_t>(axis.first[x] - column);
            __m256i high = _mm256_setzero_si256(), low = _mm256_setzero_si256();
            for (int group = 0; group < axis.groups; group++, groups++, offset += 3 * kTaps) {
                const __m256i both = _mm256_inserti128_si256(
                    _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in_0 + offset))),
                    _mm_loadu_si128(reinterpret_cast<const __m128i*>(in_1 + offset)), 1);
                const __m256i a = _mm256_shuffle_epi8(both, pixels_01);
                const __m256i b = _mm256_shuffle_epi8(both, pixels_23);
                high = _mm256_add_epi32(high, _mm256_madd_epi16(a, broadcast(groups->high)));
                low = _mm256_add_epi32(low, _mm256_madd_epi16(a, broadcast(groups->low)));
                high = _mm256_add_epi32(high, _mm256_madd_epi16(b, broadcast(groups->high + 2)));
                low = _mm256_add_epi32(low, _mm256_madd_epi16(b, broadcast(groups->low + 2)));
            }
            const __m256i sum = rounded(high, low);
            const __m256i words = _mm256_packs_epi32(sum, sum);
            const __m256i bytes = _mm256_packus_epi16(words, words);
            // The fourth byte is overwritten by the next pixel.
            store_4(out_0 + 3 * x, _mm256_extract_epi32(bytes, 0));
            store_4(out_1 + 3 * x, _mm256_extract_epi32(bytes, 4));
        }
    }
}

SHARDTOOLS_AVX2 size_t row_avx2(const WeightGroup* groups, int num_groups, const uint8_t* source, size_t stride,
                                int first, int num_rows, uint8_t* target, size_t num_bytes) {
    size_t x = 0;
    for (; x + 16 <= num_bytes; x += 16) {
        __m256i high_0 = _mm256_setzero_si256(), high_1 = high_0, low_0 = high_0, low_1 = high_0;
        for (int tap = 0; tap < num_groups * kTaps; tap += 2) {
            const WeightGroup& group = groups[tap / kTaps];
            const uint8_t* row_a = row_of(source, stride, first + tap, num_rows) + x;
            const uint8_t* row_b = row_of(source, stride, first + tap + 1, num_rows) + x;
            const __m256i a = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row_a)));
            const __m256i b = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row_b)));
            const __m256i left = _mm256_unpacklo_epi16(a, b), right = _mm256_unpackhi_epi16(a, b);
            const __m256i high = broadcast(group.high + tap % kTaps), low = broadcast(group.low + tap % kTaps);
            high_0 = _mm256_add_epi32(high_0, _mm256_madd_epi16(left, high));
            high_1 = _mm256_add_epi32(high_1, _mm256_madd_epi16(right, high));
            low_0 = _mm256_add_epi32(low_0, _mm256_madd_epi16(left, low));
            low_1 = _mm256_add_epi32(low_1, _mm256_madd_epi16(right, low));
        }
        const __m256i words = _mm256_packs_epi32(rounded(high_0, low_0), rounded(high_1, low_1));
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(words, words), 0x08);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(target + x), _mm256_castsi256_si128(bytes));
    }
    return x;
}

// ---- AVX-512 VNNI: four pixels times four bytes in one instruction ----

#define SHARDTOOLS_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

SHARDTOOLS_VNNI inline __m512i broadcast(const int8_t* four) {
    int32_t bits;
    std::memcpy(&bits, four, sizeof(bits));
    return _mm512_set1_epi32(bits);
}

// The rounding half is in digit[0] from the beginning.
SHARDTOOLS_VNNI inline __m512i rounded(const __m512i* digit) {
    const __m512i high = _mm512_add_epi32(_mm512_slli_epi32(digit[2], 16), _mm512_slli_epi32(digit[1], 8));
    return _mm512_srai_epi32(_mm512_add_epi32(high, digit[0]), kPrecision);
}

SHARDTOOLS_VNNI inline void add_products(__m512i* digit, __m512i pixels, const WeightGroup& group) {
    for (int i = 0; i < 3; i++) digit[i] = _mm512_dpbusd_epi32(digit[i], pixels, broadcast(group.byte[i]));
}

SHARDTOOLS_VNNI inline __m128i load_16(const uint8_t* bytes) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

// Four rows at a time, one in each quarter of a register.
SHARDTOOLS_VNNI void columns_vnni(const Axis& axis, const uint8_t* const* source, int column, uint8_t* const* target,
                                  int num_rows) {
    const __m512i by_channel =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
    const __m512i half = _mm512_set1_epi32(kHalf), zero = _mm512_setzero_si512();
    for (int row = 0; row < num_rows; row += 4) {
        const uint8_t* in[4];
        uint8_t* out[4];
        for (int i = 0; i < 4; i++) {
            in[i] = source[std::min(row + i, num_rows - 1)];
            out[i] = target[std::min(row + i, num_rows - 1)];
        }
        const WeightGroup* groups = axis.weights.data();
        for (int x = 0; x < axis.size; x++) {
            ptrdiff_t offset = 3 * static_cast<ptrdiff_t>(axis.first[x] - column);
            __m512i digit[3] = {half, zero, zero};
            for (int group = 0; group < axis.groups; group++, groups++, offset += 3 * kTaps) {
                __m512i rows = _mm512_castsi128_si512(load_16(in[0] + offset));
                rows = _mm512_inserti32x4(rows, load_16(in[1] + offset), 1);
                rows = _mm512_inserti32x4(rows, load_16(in[2] + offset), 2);
                rows = _mm512_inserti32x4(rows, load_16(in[3] + offset), 3);
                add_products(digit, _mm512_shuffle_epi8(rows, by_channel), *groups);
            }
            const __m512i sum = _mm512_max_epi32(rounded(digit), zero);
            const __m128i bytes = _mm512_cvtusepi32_epi8(sum);
            // The fourth byte is overwritten by the next pixel.
            store_4(out[0] + 3 * x, _mm_extract_epi32(bytes, 0));
            store_4(out[1] + 3 * x, _mm_extract_epi32(bytes, 1));
            store_4(out[2] + 3 * x, _mm_extract_epi32(bytes, 2));
            store_4(out[3] + 3 * x, _mm_extract_epi32(bytes, 3));
        }
    }
}

SHARDTOOLS_VNNI size_t row_vnni(const WeightGroup* groups, int num_groups, const uint8_t* source, size_t stride,
                                int first, int num_rows, uint8_t* target, size_t num_bytes) {
    const __m512i half = _mm512_set1_epi32(kHalf), zero = _mm512_setzero_si512();
    for (size_t x = 0; x < num_bytes; x += 64) {
        // Rows of the source are padded, those of the target are not.
        const size_t left = num_bytes - x;
        const __mmask64 mask = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
        __m512i digit[4][3] = {{half, zero, zero}, {half, zero, zero}, {half, zero, zero}, {half, zero, zero}};
        for (int group = 0; group < num_groups; group++) {
            __m512i row[4];
            for (int i = 0; i < 4; i++)
                row[i] = _mm512_loadu_si512(row_of(source, stride, first + group * kTaps + i, num_rows) + x);
            const __m512i ab_left = _mm512_unpacklo_epi8(row[0], row[1]), ab_right = _mm512_unpackhi_epi8(row[0], row[1]);
            const __m512i cd_left = _mm512_unpacklo_epi8(row[2], row[3]), cd_right = _mm512_unpackhi_epi8(row[2], row[3]);
            add_products(digit[0], _mm512_unpacklo_epi16(ab_left, cd_left), groups[group]);
            add_products(digit[1], _mm512_unpackhi_epi16(ab_left, cd_left), groups[group]);
            add_products(digit[2], _mm512_unpacklo_epi16(ab_right, cd_right), groups[group]);
            add_products(digit[3], _mm512_unpackhi_epi16(ab_right, cd_right), groups[group]);
        }
        const __m512i left_words = _mm512_packs_epi32(rounded(digit[0]), rounded(digit[1]));
        const __m512i right_words = _mm512_packs_epi32(rounded(digit[2]), rounded(digit[3]));
        _mm512_mask_storeu_epi8(target + x, mask, _mm512_packus_epi16(left_words, right_words));
    }
    return num_bytes;
}

#endif  // SHARDTOOLS_X86

enum Simd { kUnknown, kPortable, kAvx2, kVnni };
constexpr const char* kSimdNames[] = {"unknown", "portable", "avx2", "avx512vnni"};

bool has(Simd level) {
#ifdef SHARDTOOLS_X86
    if (level == kAvx2) return __builtin_cpu_supports("avx2");
    if (level == kVnni)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#endif
    return level == kPortable;
}

Simd best_simd() {
#ifdef SHARDTOOLS_X86
    __builtin_cpu_init();
#endif
    return has(kVnni) ? kVnni : has(kAvx2) ? kAvx2 : kPortable;
}

Simd simd = best_simd();

}  // namespace

const char* simd_name() { return kSimdNames[simd]; }

bool choose_simd(const char* name) {
    for (Simd level : {kPortable, kAvx2, kVnni}) {
        if (std::strcmp(name, kSimdNames[level]) != 0 || !has(level)) continue;
        simd = level;
        return true;
    }
    return false;
}

void resize_columns(const Axis& axis, const uint8_t* const* source, int column, uint8_t* const* target, int num_rows) {
#ifdef SHARDTOOLS_X86
    if (simd == kVnni) return columns_vnni(axis, source, column, target, num_rows);
    if (simd == kAvx2) return columns_avx2(axis, source, column, target, num_rows);
#endif
    columns_portable(axis, source, column, target, num_rows);
}

void resize_rows(const Axis& axis, const uint8_t* source, size_t stride, int row, int num_rows, uint8_t* target,
                 size_t num_bytes) {
    for (int y = 0; y < axis.size; y++, target += num_bytes) {
        const WeightGroup* groups = &axis.weights[static_cast<size_t>(y) * axis.groups];
        const int first = axis.first[static_cast<size_t>(y)] - row;
        size_t done = 0;
#ifdef SHARDTOOLS_X86
        if (simd == kVnni) done = row_vnni(groups, axis.groups, source, stride, first, num_rows, target, num_bytes);
        if (simd == kAvx2) done = row_avx2(groups, axis.groups, source, stride, first, num_rows, target, num_bytes);
#endif
        row_portable(groups, axis.groups, source, stride, first, num_rows, target + done, done, num_bytes);
    }
}

}  // namespace shardtools
