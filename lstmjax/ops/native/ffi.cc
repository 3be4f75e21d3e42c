// The handlers of XLA's calls: shapes, models, threads, and the choice of the kernel by what the processor has.
//
// Every array may have leading axes, of the models of a population: an axis has the length of the population, or 1 where
// all models share the array. An array that is absent, or not asked for, has no elements.
#include <xmmintrin.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "kernel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using Ints = ffi::Buffer<ffi::S32>;
using Result = ffi::Result<Floats>;
using Dims = ffi::Span<const int64_t>;

namespace {

const Kernel* chosen = nullptr;  // by lstmjax_choose, before the handlers are registered

constexpr int64_t ROWS_FORWARD = 8, ROWS_BACKWARD = 32;  // the least that a part of a batch has
constexpr int64_t MOST_PARTS = 8;

// Memory of the kernel's own, kept for the next call: freed in every call, it would cut up the memory that XLA takes and
// gives back around it, and the system would have to zero its pages again.
class Memory {
 public:
  explicit Memory(int64_t floats) : size_(floats) {
    Pool& all = pool();
    std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.unused.lower_bound(floats);
    if (found != all.unused.end() && found->first <= 2 * floats) {
      size_ = found->first, data_ = found->second;
      all.unused.erase(found);
    } else {
      data_ = static_cast<float*>(std::aligned_alloc(64, (4 * floats + 63) / 64 * 64));
    }
  }
  ~Memory() {
    if (!data_) return;
    Pool& all = pool();
    std::lock_guard<std::mutex> lock(all.mutex);
    all.unused.emplace(size_, data_);
    if (all.unused.size() <= MOST_UNUSED) return;
    std::free(all.unused.begin()->second);
    all.unused.erase(all.unused.begin());
  }
  Memory(const Memory&) = delete;
  float* data() const { return data_; }  // null: the system has no more

 private:
  static constexpr size_t MOST_UNUSED = 64;
  struct Pool {
    std::mutex mutex;
    std::multimap<int64_t, float*> unused;  // by size
  };
  static Pool& pool() {
    static Pool* all = new Pool;  // never destroyed: threads may still run when the process ends
    return *all;
  }
  int64_t size_;
  float* data_ = nullptr;
};

// While it lives, numbers too small for a normal float count as 0: they cost a hundred times the others.
struct NoDenormals {
  unsigned before = _mm_getcsr();
  NoDenormals() { _mm_setcsr(before | 0x8040); }
  ~NoDenormals() { _mm_setcsr(before); }
};

// Runs task(0) ... task(n - 1), on as many threads as the pool has, or on this one `alone`. Which thread runs a task
// changes no result. The caller takes part, so that it ends even where the pool has no thread free.
template <class F>
void parallel(ffi::ThreadPool& pool, bool alone, int64_t n, const F& task) {
  struct State {
    std::atomic<int64_t> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable all_done;
  };
  const auto state = std::make_shared<State>();
  auto work = [state, n, &task] {  // `task` lives as long as there is an index left
    const NoDenormals flushed;
    for (int64_t i; (i = state->next++) < n;) {
      task(i);
      if (++state->done < n) continue;
      std::lock_guard<std::mutex> lock(state->mutex);
      state->all_done.notify_one();
    }
  };
  const int64_t threads = alone ? 1 : std::min(pool.num_threads(), n);
  for (int64_t t = 1; t < threads; ++t) pool.Schedule(decltype(work)(work));
  work();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->all_done.wait(lock, [&] { return state->done == n; });
}

// The part of an array that belongs to a model, or null if the array has no elements.
template <class T, class Buffer>
T* of(const Buffer& array, Dims models, int64_t model) {
  const Dims dims = array.dimensions();
  int64_t size = 1, at = 0, stride = 1;
  for (size_t d = models.size(); d < dims.size(); ++d) size *= dims[d];
  for (size_t d = models.size(); d-- > 0; model /= models[d], stride *= dims[d])
    if (dims[d] > 1) at += model % models[d] * stride;
  return size == 0 ? nullptr : array.typed_data() + at * size;
}

struct Inputs {
  Floats x, kernel, recurrent, bias, c0, h0, mask;
  Ints lengths;

  Layer layer(bool reverse) const {
    const Dims a = x.dimensions(), b = recurrent.dimensions();
    return {a[a.size() - 3], a[a.size() - 2], a[a.size() - 1], b[b.size() - 2], reverse};
  }
  Arrays of_model(Dims models, int64_t k) const {
    Arrays a{};
    a.x = of<float>(x, models, k), a.kernel = of<float>(kernel, models, k);
    a.recurrent = of<float>(recurrent, models, k), a.bias = of<float>(bias, models, k);
    a.c0 = of<float>(c0, models, k), a.h0 = of<float>(h0, models, k), a.mask = of<float>(mask, models, k);
    a.lengths = of<int32_t>(lengths, models, k);
    return a;
  }
};

// Runs one(model, alone) for every model. The models are what threads share, if there are enough of them; else it is parts
// of each one's batch, which `one` runs in parallel if it is not told `alone`.
template <class F>
ffi::Error for_models(ffi::ThreadPool& pool, bool alone, Dims models, const F& one) {
  int64_t count = 1;
  for (int64_t length : models) count *= length;
  const bool by_model = alone || count >= pool.num_threads();
  std::atomic<bool> failed{false};
  parallel(pool, alone || !by_model, count, [&](int64_t k) {
    if (!one(k, by_model)) failed = true;
  });
  return failed ? ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the LSTM's own arrays")
                : ffi::Error::Success();
}

ffi::Error forward(ffi::ThreadPool pool, Floats x, Floats kernel, Floats recurrent, Floats bias, Floats c0, Floats h0,
                   Floats mask, Ints lengths, Result c, Result h, Result y, Result kept, bool reverse, bool alone) {
  const Inputs inputs{x, kernel, recurrent, bias, c0, h0, mask, lengths};
  const Layer s = inputs.layer(reverse);
  const Dims models = c->dimensions().first(c->dimensions().size() - 2);
  return for_models(pool, alone, models, [&](int64_t k, bool alone) {
    Arrays a = inputs.of_model(models, k);
    a.c_last = of<float>(*c, models, k), a.h_last = of<float>(*h, models, k);
    a.y = of<float>(*y, models, k), a.kept = of<float>(*kept, models, k);
    const Memory packed(chosen->packed_floats(s));
    if (!packed.data()) return false;
    chosen->pack(s, a, packed.data());
    const int64_t threads = alone ? 1 : pool.num_threads();
    const int64_t parts = std::max<int64_t>(1, std::min(threads, s.B / ROWS_FORWARD));
    std::atomic<bool> enough{true};
    parallel(pool, alone, parts, [&](int64_t part) {
      const int64_t first = s.B * part / parts, end = s.B * (part + 1) / parts;
      const Memory scratch(chosen->forward_scratch(s, end - first));
      if (scratch.data()) chosen->forward(s, a, packed.data(), scratch.data(), first, end);
      else enough = false;
    });
    return enough.load();
  });
}

// The gradients of the weights are sums over the batch. Its parts, and so the order of the sums, follow from its size and
// not from the threads.
ffi::Error backward(ffi::ThreadPool pool, Floats x, Floats kernel, Floats recurrent, Floats bias, Floats c0, Floats h0,
                    Floats mask, Ints lengths, Floats y, Floats kept, Floats dc, Floats dh, Floats dy, Result dkernel,
                    Result drecurrent, Result dbias, Result dc0, Result dh0, Result dmask, Result dx, bool reverse,
                    bool alone) {
  const Inputs inputs{x, kernel, recurrent, bias, c0, h0, mask, lengths};
  const Layer s = inputs.layer(reverse);
  const Dims models = dc0->dimensions().first(dc0->dimensions().size() - 2);
  const int64_t parts = std::max<int64_t>(1, std::min(MOST_PARTS, s.B / ROWS_BACKWARD));
  return for_models(pool, alone, models, [&](int64_t k, bool alone) {
    Arrays a = inputs.of_model(models, k);
    a.y = const_cast<float*>(of<float>(y, models, k)), a.kept = const_cast<float*>(of<float>(kept, models, k));
    a.dc_last = of<float>(dc, models, k), a.dh_last = of<float>(dh, models, k), a.dy = of<float>(dy, models, k);
    a.dkernel = of<float>(*dkernel, models, k), a.drecurrent = of<float>(*drecurrent, models, k);
    a.dbias = of<float>(*dbias, models, k), a.dc0 = of<float>(*dc0, models, k), a.dh0 = of<float>(*dh0, models, k);
    a.dmask = of<float>(*dmask, models, k), a.dx = of<float>(*dx, models, k);
    const int64_t size = chosen->packed_floats(s);
    const Memory transposed(chosen->transposed_floats(s, a.dx)), sums(parts * size);
    if (!transposed.data() || !sums.data()) return false;
    chosen->transpose(s, a, transposed.data());
    std::atomic<bool> enough{true};
    parallel(pool, alone, parts, [&](int64_t part) {
      const int64_t first = s.B * part / parts, end = s.B * (part + 1) / parts;
      float* own = sums.data() + part * size;
      const Memory scratch(chosen->backward_scratch(s, end - first));
      std::memset(own, 0, sizeof(float) * size);
      if (scratch.data()) chosen->backward(s, a, transposed.data(), own, scratch.data(), first, end);
      else enough = false;
    });
    chosen->unpack(s, a, sums.data(), parts);
    return enough.load();
  });
}

const Kernel* best(int limit) {
  __builtin_cpu_init();
  if (limit >= 16 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return &kernel_avx512;
  if (limit >= 8 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &kernel_avx2;
  return nullptr;
}

}  // namespace

#define LSTMJAX_PUBLIC extern "C" __attribute__((visibility("default")))

// What the library was made from, so that Python calls no other than its own.
LSTMJAX_PUBLIC const char* lstmjax_digest() { return LSTMJAX_DIGEST; }

// Chooses the widest vectors that the processor has, of at most `limit` floats. Returns how many floats; 0: none fits.
LSTMJAX_PUBLIC int lstmjax_choose(int limit) {
  chosen = best(limit);
  return chosen ? chosen->width : 0;
}

#define INPUTS                                                                                                           \
  Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Ints>()

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(lstmjax_forward, forward,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().INPUTS.Ret<Floats>().Ret<Floats>().Ret<Floats>()
                                  .Ret<Floats>().Attr<bool>("reverse").Attr<bool>("alone"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(lstmjax_backward, backward,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().INPUTS.Arg<Floats>().Arg<Floats>().Arg<Floats>()
                                  .Arg<Floats>().Arg<Floats>().Ret<Floats>().Ret<Floats>().Ret<Floats>().Ret<Floats>()
                                  .Ret<Floats>().Ret<Floats>().Ret<Floats>().Attr<bool>("reverse").Attr<bool>("alone"));
#pragma GCC visibility pop
