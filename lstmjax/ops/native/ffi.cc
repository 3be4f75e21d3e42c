// The handlers of XLA's calls: models, threads, memory, and the choice of the kernel by what the processor has.
//
// Every array may have leading axes, of the models of a population: such an axis has the length of the population, or 1
// where all models share the array. An array that is absent, or not asked for, has no elements.
#include <xmmintrin.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "kernel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
using Dims = ffi::Span<const int64_t>;

namespace {
const Kernel* chosen = nullptr;  // by lstmjax_choose, before the handlers are registered

constexpr int64_t MOST_PARTS = 8, ROWS_FORWARD = 8, ROWS_BACKWARD = 32;  // of a batch; rows of a part, at least

// Memory of the kernel's own, kept for the next call: freed in every call, it would cut up the memory that XLA takes
// and gives back around it, and the system would have to zero its pages again.
struct Memory {
  int64_t size;
  float* data = nullptr;  // null: the system has no more

  explicit Memory(int64_t floats) : size(floats) {
    std::lock_guard<std::mutex> lock(mutex);
    const auto found = unused->lower_bound(floats);
    if (found == unused->end() || found->first > 2 * floats) {
      data = static_cast<float*>(std::aligned_alloc(64, (4 * floats + 63) / 64 * 64));
      return;
    }
    size = found->first, data = found->second;
    unused->erase(found);
  }
  Memory(const Memory&) = delete;
  ~Memory() {
    std::lock_guard<std::mutex> lock(mutex);
    if (data) unused->emplace(size, data);
    if (unused->size() <= 64) return;
    std::free(unused->begin()->second);
    unused->erase(unused->begin());
  }
  using Blocks = std::multimap<int64_t, float*>;  // by size
  inline static std::mutex mutex;
  inline static Blocks* const unused = new Blocks;  // never freed: threads may run as the process ends
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
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);  // denormal numbers, which cost a hundred times the others, count as 0
    for (int64_t i; (i = state->next++) < n;) {
      task(i);
      if (++state->done < n) continue;
      std::lock_guard<std::mutex> lock(state->mutex);
      state->all_done.notify_one();
    }
    _mm_setcsr(before);
  };
  const int64_t threads = alone ? 1 : std::min(pool.num_threads(), n);
  for (int64_t t = 1; t < threads; ++t) pool.Schedule(decltype(work)(work));
  work();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->all_done.wait(lock, [&] { return state->done == n; });
}

// The same for parts of a batch, each with memory of its own: task(part, first row, end, scratch). False: without it.
template <class F>
bool for_parts(ffi::ThreadPool& pool, bool alone, const Layer& s, int64_t parts,
               int64_t (*scratch_floats)(const Layer&, int64_t), const F& task) {
  std::atomic<bool> enough{true};
  parallel(pool, alone, parts, [&](int64_t part) {
    const int64_t first = s.B * part / parts, end = s.B * (part + 1) / parts;
    const Memory scratch(scratch_floats(s, end - first));
    if (scratch.data) task(part, first, end, scratch.data);
    else enough = false;
  });
  return enough;
}

// The arrays of the calls in their order (lstmjax/ops/_native.py): what both read, from y on the second one; results.
using Field = float* Arrays::*;
constexpr size_t LENGTHS = 7;  // int32
constexpr Field ARGUMENTS[] = {
    &Arrays::x, &Arrays::kernel, &Arrays::recurrent, &Arrays::bias,    &Arrays::c0,      &Arrays::h0, &Arrays::mask,
    nullptr,    &Arrays::y,      &Arrays::kept,      &Arrays::dc_last, &Arrays::dh_last, &Arrays::dy};
constexpr Field FORWARD[] = {&Arrays::c_last, &Arrays::h_last, &Arrays::y, &Arrays::kept};
constexpr Field BACKWARD[] = {&Arrays::dkernel, &Arrays::drecurrent, &Arrays::dbias, &Arrays::dc0,
                              &Arrays::dh0,     &Arrays::dmask,      &Arrays::dx};

struct Call {
  ffi::ThreadPool pool;
  std::vector<ffi::AnyBuffer> arguments, results;
  const Field* fields;  // of the results
  Layer layer;
  Dims models;  // the leading axes

  Call(ffi::ThreadPool pool, ffi::RemainingArgs in, ffi::RemainingRets out, const Field* to, size_t state, bool reverse)
      : pool(pool), fields(to) {
    for (size_t i = 0; i < in.size(); ++i) arguments.push_back(*in.get<ffi::AnyBuffer>(i));
    for (size_t i = 0; i < out.size(); ++i) results.push_back(**out.get<ffi::AnyBuffer>(i));
    const Dims x = arguments[0].dimensions(), recurrent = arguments[2].dimensions(), c = results[state].dimensions();
    const int64_t* sizes = x.end() - 3;
    layer = {sizes[0], sizes[1], sizes[2], recurrent.end()[-2], reverse};
    models = c.first(c.size() - 2);
  }

  // The part of an array that belongs to a model, or null if the array has no elements.
  template <class T>
  T* part(const ffi::AnyBuffer& array, int64_t model) const {
    const Dims dims = array.dimensions();
    int64_t size = 1, at = 0, stride = 1;
    for (size_t d = models.size(); d < dims.size(); ++d) size *= dims[d];
    for (size_t d = models.size(); d-- > 0; model /= models[d], stride *= dims[d])
      if (dims[d] > 1) at += model % models[d] * stride;
    return size == 0 ? nullptr : static_cast<T*>(array.untyped_data()) + at * size;
  }

  Arrays of_model(int64_t model) const {
    Arrays a{};
    for (size_t i = 0; i < arguments.size(); ++i)
      if (i == LENGTHS) a.lengths = part<int32_t>(arguments[i], model);
      else a.*ARGUMENTS[i] = part<float>(arguments[i], model);
    for (size_t i = 0; i < results.size(); ++i) a.*fields[i] = part<float>(results[i], model);
    return a;
  }

  // Runs one(arrays of a model, alone), which returns whether there was memory, for every model. Threads share the
  // models, if there are enough of them; else the parts of each batch, which `one` runs in parallel if not `alone`.
  template <class F>
  ffi::Error run(bool alone, const F& one) {
    int64_t count = 1;
    for (int64_t length : models) count *= length;
    const bool by_model = alone || count >= pool.num_threads();
    std::atomic<bool> enough{true};
    parallel(pool, alone || !by_model, count, [&](int64_t model) {
      if (!one(of_model(model), by_model)) enough = false;
    });
    return enough ? ffi::Error::Success() : ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the LSTM");
  }
};

ffi::Error forward(ffi::ThreadPool pool, ffi::RemainingArgs in, ffi::RemainingRets out, bool reverse, bool alone) {
  Call call(pool, in, out, FORWARD, 0, reverse);
  const Layer& s = call.layer;
  return call.run(alone, [&](const Arrays& a, bool alone) {
    const Memory packed(chosen->packed_floats(s));
    if (!packed.data) return false;
    chosen->pack(s, a, packed.data);
    const int64_t parts = alone ? 1 : std::max<int64_t>(1, std::min(pool.num_threads(), s.B / ROWS_FORWARD));
    return for_parts(pool, alone, s, parts, chosen->forward_scratch, [&](auto, auto first, auto end, float* scratch) {
      chosen->forward(s, a, packed.data, scratch, first, end);
    });
  });
}

// The gradients of the weights are sums over the batch. Its parts, and so their order, follow from its size alone.
ffi::Error backward(ffi::ThreadPool pool, ffi::RemainingArgs in, ffi::RemainingRets out, bool reverse, bool alone) {
  Call call(pool, in, out, BACKWARD, 3, reverse);
  const Layer& s = call.layer;
  return call.run(alone, [&](const Arrays& a, bool alone) {
    const int64_t parts = std::max<int64_t>(1, std::min(MOST_PARTS, s.B / ROWS_BACKWARD));
    const int64_t size = chosen->packed_floats(s);
    const Memory transposed(chosen->transposed_floats(s, a.dx)), sums(parts * size);
    if (!transposed.data || !sums.data) return false;
    std::fill_n(sums.data, parts * size, 0.0f);
    chosen->transpose(s, a, transposed.data);
    const auto task = [&](auto part, auto first, auto end, float* scratch) {
      chosen->backward(s, a, transposed.data, sums.data + part * size, scratch, first, end);
    };
    const bool enough = for_parts(pool, alone, s, parts, chosen->backward_scratch, task);
    chosen->unpack(s, a, sums.data, parts);
    return enough;
  });
}

}  // namespace

// What the library was made from, so that Python calls no other than its own.
extern "C" const char* lstmjax_digest() { return LSTMJAX_DIGEST; }

// Chooses the widest vectors that the processor has, of at most `limit` floats. Returns how many floats; 0: none fits.
extern "C" int lstmjax_choose(int limit) {
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  chosen = limit >= 16 && avx512 ? &kernel_avx512 : limit >= 8 && avx2 ? &kernel_avx2 : nullptr;
  return chosen ? chosen->width : 0;
}

#define BINDING                                                                                               \
  ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().RemainingArgs().RemainingRets().Attr<bool>("reverse").Attr<bool>("alone")
XLA_FFI_DEFINE_HANDLER_SYMBOL(lstmjax_forward, forward, BINDING);
XLA_FFI_DEFINE_HANDLER_SYMBOL(lstmjax_backward, backward, BINDING);
