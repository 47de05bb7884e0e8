#include "wide.h"

#include <atomic>
#include <cstring>

namespace shardtools {
namespace {

bool has_avx2() {
#ifdef SHARDTOOLS_X86
    return __builtin_cpu_supports("avx2");
#else
    return false;
#endif
}

std::atomic<bool> is_avx2{has_avx2()};

}  // namespace

bool uses_avx2() { return is_avx2.load(std::memory_order_relaxed); }

const char* simd_name() { return uses_avx2() ? "avx2" : "portable"; }

bool choose_simd(const char* name) {
    const bool wants_avx2 = std::strcmp(name, "avx2") == 0;
    if (!wants_avx2 && std::strcmp(name, "portable") != 0) return false;
    if (wants_avx2 && !has_avx2()) return false;
    is_avx2.store(wants_avx2, std::memory_order_relaxed);
    return true;
}

}  // namespace shardtools
