// What lies beyond the border of an image.
#pragma once

namespace shardtools {

// The outermost value again; the field mirrored, the outermost value twice; mirrored with
// the outermost value once; or the other side of the field.
enum class Border { kRepeated, kMirrored, kMirroredOnce, kWrapped };

// Index of what lies at `i`, which may be beyond [0, size).
inline int inside(int i, int size, Border border) {
    if (i >= 0 && i < size) return i;
    if (border == Border::kRepeated || size == 1) return i < 0 ? 0 : size - 1;
    if (border == Border::kWrapped) return ((i % size) + size) % size;
    const int period = border == Border::kMirrored ? 2 * size : 2 * size - 2;
    const int folded = ((i % period) + period) % period;
    if (folded < size) return folded;
    return border == Border::kMirrored ? period - 1 - folded : period - folded;
}

}  // namespace shardtools
