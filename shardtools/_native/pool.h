// A fixed number of threads that work through batches, in the order in which the batches came.
//
// Several batches may be under way, from several calling threads: when the last images of one are being decoded, the
// threads that are free begin the next, so no batch boundary leaves a core idle.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace shardtools {

class Pool {
public:
    // Throws std::system_error where the system gives no more threads.
    explicit Pool(int num_threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    // Calls work(i, thread) for each i below `count`, then returns. `thread` is below num_threads(), and no two calls
    // with the same one run at the same time. `work` must not throw.
    void run(size_t count, const std::function<void(size_t, int)>& work);
    int num_threads() const { return num_threads_; }

private:
    struct State;
    const int num_threads_;
    std::unique_ptr<State> state_;
};

}  // namespace shardtools
