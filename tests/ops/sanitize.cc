// Runs the native kernel over many shapes, on arrays of exactly the size it may touch: compiled with the address and
// undefined-behaviour sanitizers by test_native_sanitizers.py, which fail on the first access beside them.
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <vector>

#include "kernel.h"

namespace {

unsigned state = 1;
float number() { return float((state = state * 1664525u + 1013904223u) >> 8) / (1 << 23) - 1.0f; }

struct Floats {  // 64-byte aligned, as XLA's are; what a kernel is to write starts as NaN
  float* data;
  Floats(int64_t n, bool input) : data(n ? static_cast<float*>(aligned_alloc(64, (4 * n + 63) / 64 * 64)) : nullptr) {
    for (int64_t i = 0; i < n; ++i) data[i] = input ? number() : __builtin_nanf("");
    if (n % 16) own.reset(new float[n]);  // not a multiple of a line: exact, at any address
    if (own) {
      for (int64_t i = 0; i < n; ++i) own[i] = data[i];
      free(data), data = own.get();
    }
  }
  ~Floats() {
    if (!own) free(data);
  }
  std::unique_ptr<float[]> own;
};

bool run(const Kernel& kernel, const Layer& s, bool lengths, bool mask, bool sequence, bool dx) {
  const int64_t B = s.B, T = s.T, I = s.I, H = s.H, groups = (H + kernel.width - 1) / kernel.width;
  Floats x(B * T * I, true), w(4 * H * I, true), u(4 * H * H, true), bias(4 * H, true), c0(B * H, true), h0(B * H, true);
  Floats factor(B * H, true), y(B * T * H, false), kept(T * groups * B * 5 * kernel.width, false);
  Floats c(B * H, false), h(B * H, false), dc(B * H, true), dh(B * H, true), dy(B * T * H, true);
  Floats dw(4 * H * I, false), du(4 * H * H, false), db(4 * H, false), dc0(B * H, false), dh0(B * H, false);
  Floats dfactor(B * H, false), dxs(B * T * I, false);
  std::vector<int32_t> steps;
  for (int64_t b = 0; b < B; ++b) steps.push_back(int32_t(b * 7 % (T + 1)));
  Arrays a{};
  a.x = x.data, a.kernel = w.data, a.recurrent = u.data, a.bias = bias.data, a.c0 = c0.data, a.h0 = h0.data;
  a.mask = mask ? factor.data : nullptr, a.lengths = lengths ? steps.data() : nullptr;
  a.c_last = c.data, a.h_last = h.data, a.y = y.data, a.kept = kept.data;
  const Floats packed(kernel.packed_floats(s), false), scratch(kernel.forward_scratch(s, B), false);
  kernel.pack(s, a, packed.data);
  kernel.forward(s, a, packed.data, scratch.data, 0, B);
  a.dc_last = dc.data, a.dh_last = dh.data, a.dy = sequence ? dy.data : nullptr;
  a.dkernel = dw.data, a.drecurrent = du.data, a.dbias = db.data, a.dc0 = dc0.data, a.dh0 = dh0.data;
  a.dmask = mask ? dfactor.data : nullptr, a.dx = dx ? dxs.data : nullptr;
  const Floats transposed(kernel.transposed_floats(s, dx), false);
  const Floats back[] = {{kernel.backward_scratch(s, B / 2), false}, {kernel.backward_scratch(s, B - B / 2), false}};
  const int64_t size = kernel.packed_floats(s);
  const Floats sums(2 * size, false);
  for (int64_t i = 0; i < 2 * size; ++i) sums.data[i] = 0.0f;
  kernel.transpose(s, a, transposed.data);
  kernel.backward(s, a, transposed.data, sums.data, back[0].data, 0, B / 2);
  kernel.backward(s, a, transposed.data, sums.data + size, back[1].data, B / 2, B);
  kernel.unpack(s, a, sums.data, 2);
  float total = 0;  // NaN where something was not written, or was read before it was
  auto add = [&](const Floats& array, int64_t n) {
    for (int64_t i = 0; i < n; ++i) total += array.data[i];
  };
  add(y, B * T * H), add(c, B * H), add(h, B * H), add(dw, 4 * H * I), add(du, 4 * H * H), add(db, 4 * H);
  add(dc0, B * H), add(dh0, B * H);
  if (mask) add(dfactor, B * H);
  if (dx) add(dxs, B * T * I);
  return total == total;
}

}  // namespace

int main() {
  int runs = 0;
  for (const Kernel* kernel : {&kernel_avx512, &kernel_avx2}) {
    if (kernel == &kernel_avx512 && !(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))) continue;
    for (int64_t B : {1, 2, 7, 70})
      for (int64_t T : {0, 1, 5, 40})
        for (int64_t I : {1, 17, 70})
          for (int64_t H : {1, 8, 16, 33})
            for (int options = 0; options < 32; options += (B * T * I * H > 9999 ? 11 : 1), ++runs) {
              const Layer s{B, T, I, H, bool(options & 1)};
              if (run(*kernel, s, options & 2, options & 4, options & 8, options & 16)) continue;
              std::printf("NaN: width %d, %d %d %d %d, options %d\n", kernel->width, int(B), int(T), int(I), int(H), options);
              return 1;
            }
  }
  std::printf("%d runs\n", runs);
}
