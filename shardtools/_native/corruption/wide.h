// Loops compiled twice, for any processor and for AVX2, chosen at run time.
//
// Both make the same bits: the build forbids contraction (-ffp-contract=off), sums keep their order, and nothing here
// calls the system's mathematical functions, which differ from one processor to another. So pixels depend on the seed
// alone.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#define SHARDTOOLS_X86 1
#endif

#define SHARDTOOLS_INLINE __attribute__((always_inline))

namespace shardtools {

bool uses_avx2();

// "portable" or "avx2".
const char* simd_name();

// False where the processor lacks the instructions, or nobody knows the name. For tests.
bool choose_simd(const char* name);

#ifdef SHARDTOOLS_X86
template <class Body>
__attribute__((target("avx2"), noinline)) void run_avx2(const Body body) {
    body();
}
#endif

// Runs wide([=]() SHARDTOOLS_INLINE { loop }). Capture by value: what is captured by reference may lie where the loop
// writes, and is read again each time.
template <class Body>
inline void wide(const Body body) {
#ifdef SHARDTOOLS_X86
    if (uses_avx2()) {
        run_avx2(body);
        return;
    }
#endif
    body();
}

}  // namespace shardtools
