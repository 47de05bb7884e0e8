// Memory that a thread keeps from image to image, so that most images allocate nothing of their own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace shardtools {

class Scratch {
public:
    // `count` values, not initialised, on a boundary of 64 bytes, with 64 bytes behind them that may be read and
    // written. Valid until reset(). Throws std::bad_alloc.
    template <class T>
    T* take(size_t count) {
        static_assert(std::is_trivially_destructible<T>::value, "nobody destroys what lies here");
        const size_t bytes = (count * sizeof(T) + 2 * kLine - 1) / kLine * kLine;
        if (blocks_.empty() || blocks_.back().used + bytes > blocks_.back().size) add(bytes);
        Block& block = blocks_.back();
        T* found = reinterpret_cast<T*>(block.memory.get() + block.used);
        block.used += bytes;
        return found;
    }

    // Everything that was taken is free again; what was in pieces becomes one block.
    void reset() {
        if (blocks_.size() > 1) {
            const size_t total = num_bytes();
            blocks_.clear();
            add(total);
        }
        if (!blocks_.empty()) blocks_.back().used = 0;
    }

    size_t num_bytes() const {
        size_t total = 0;
        for (const Block& block : blocks_) total += block.size;
        return total;
    }

private:
    static constexpr size_t kLine = 64;
    static constexpr size_t kLeast = size_t{1} << 20;

    struct Free {
        void operator()(unsigned char* memory) const { std::free(memory); }
    };

    struct Block {
        std::unique_ptr<unsigned char, Free> memory;
        size_t size, used;
    };

    void add(size_t bytes) {
        const size_t size = std::max(bytes, kLeast);
        void* memory = std::aligned_alloc(kLine, (size + kLine - 1) / kLine * kLine);
        if (memory == nullptr) throw std::bad_alloc();
        blocks_.push_back({std::unique_ptr<unsigned char, Free>(static_cast<unsigned char*>(memory)), size, 0});
    }

    std::vector<Block> blocks_;
};

}  // namespace shardtools
