// The LSTM over time for one instruction set (vectors.h). The equations are those of lstmjax/ops/step.py, with U the
// recurrent kernel, V the kernel and b the bias:
//
//   z = (h, x, 1) (U; V; b)   i, f, o = σ(z_i), σ(z_f), σ(z_o)   g = tanh(z_g)   c' = f c + i g   h' = o tanh(c')
//
// How it is laid out, and why:
//
//   group    W hidden units, the lanes of a vector. H is filled up to G groups; the weights of units that are not there
//            are 0.
//   panel    P = 4 W floats: the four gates i, f, g, o of a group side by side.
//   packed   the weights as [group][feature of (h, x, 1)][P]. In XLA's rows of 4H floats a unit's gates are H floats
//            apart, and a product ends with z in memory. By groups it ends with the four gates of W units in registers,
//            where the rest of the step is done: z is never stored.
//   tile     R rows of the batch times one panel: 4 R sums, as many as there are registers for. Each weight that is
//            loaded serves R rows, each input four vectors.
//   block    up to BLOCK rows of the batch, which go through all of time before the next ones: their states stay in the
//            cache.
//   kept     what the backward pass needs of a step, [step][group][row][i f g o c], W floats each. Steps are counted in
//            the order of computation: step s is t = s, or t = T - 1 - s in reverse.
#include <type_traits>

#include "kernel.h"
#include "vectors.h"

namespace {
constexpr int P = 4 * W, KEPT = 5 * W;
constexpr int ROWS = W == 16 ? 6 : 3;  // of a tile, at most: 4 R sums, R inputs and a weight in 32 (16) registers
constexpr int64_t BLOCK = 64;
constexpr int64_t DEPTH = 128;            // rows, of batch and time, over which one product of weight gradients sums
constexpr int64_t STREAM_FROM = 2 << 20;  // floats to keep, from which on they go past the caches

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t groups(int64_t features) { return (features + W - 1) / W; }
inline int64_t features(const Layer& s) { return s.H + s.I + 1; }
inline int64_t row_floats(const Layer& s) { return (features(s) + 15) / 16 * 16; }  // of a row (h, x, 1): whole lines
inline int64_t time_of(const Layer& s, int64_t step) { return s.reverse ? s.T - 1 - step : step; }

inline void copy(float* to, const float* from, int64_t n) {
  for (int64_t j = 0; j < n; j += W) store_some(to + j, load_some(from + j, n - j), n - j);
}
inline void zero(float* to, int64_t n) { for (int64_t j = 0; j < n; j += W) store_some(to + j, all(0.0f), n - j); }

// The steps of one row that count, in the order of computation: padding comes after them, or in reverse before them.
struct Span {
  int64_t first, last;
  int64_t count() const { return last - first + 1; }
  bool holds(int64_t step) const { return first <= step && step <= last; }
};
inline Span span(const Layer& s, const Arrays& a, int64_t b) {
  const int64_t n = a.lengths ? most(0, least(a.lengths[b], s.T)) : s.T;
  return s.reverse ? Span{s.T - n, s.T - 1} : Span{0, n - 1};
}

// Calls f(constant R, first row) on tiles of up to ROWS rows, as even as can be, of n rows.
template <int R, class F>
inline void tile(int64_t rows, int64_t at, const F& f) {
  if constexpr (R > 0) {
    if (rows == R) f(std::integral_constant<int, R>{}, at);
    else tile<R - 1>(rows, at, f);
  }
}
template <class F>
inline void tiles(int64_t n, const F& f) {
  for (int64_t at = 0, left = (n + ROWS - 1) / ROWS, rows; left > 0; --left, at += rows) {
    rows = (n - at + left - 1) / left;
    tile<ROWS>(rows, at, f);
  }
}

// sums[v][r] += a[r * stride] w[v W ...]: one input of each of R rows times N vectors of weights. The loops are
// unrolled, so that sums and inputs stay in registers; the weights come from memory, once for R rows: `asm` keeps the
// compiler from loading one again for each row, which takes a quarter more time.
template <int N, int R>
INLINE void add_product(vec (&sums)[N][R], const float* a, int64_t stride, const float* w) {
  vec x[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) x[r] = all(a[r * stride]);
#pragma GCC unroll 4
  for (int v = 0; v < N; ++v) {
    vec weight = load(w + v * W);
    asm("" : "+v"(weight));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums[v][r] = fma(x[r], weight, sums[v][r]);
  }
}

// sums += a (R rows, `stride` apart, K long) times w (K, N W). Meanwhile K cache lines of `ahead`, which are weights of
// later tiles, are fetched: those of a large layer do not fit into the cache.
template <int N, int R>
INLINE void multiply(vec (&sums)[N][R], const float* a, int64_t stride, int64_t K, const float* w, const float* ahead) {
#pragma GCC unroll 2
  for (int64_t k = 0; k < K; ++k) add_product(sums, a + k, stride, w + k * N * W), fetch(ahead + k * W);
}

int64_t packed_floats(const Layer& s) { return groups(s.H) * features(s) * P; }

// The row of a feature of (h, x, 1) in U, V or b, or in their gradients.
inline float* row_of(const Layer& s, int64_t feature, float* recurrent, float* kernel, float* bias) {
  if (feature == s.H + s.I) return bias;
  return feature < s.H ? recurrent + 4 * s.H * feature : kernel + 4 * s.H * (feature - s.H);
}

// (4H) rows of U, V and b -> packed. Those of i, f and o are multiplied by -log2(e), see `logistic_scaled`.
void pack(const Layer& s, const Arrays& a, float* packed) {
  for (int64_t g = 0; g < groups(s.H); ++g)
    for (int64_t k = 0; k < features(s); ++k, packed += P) {
      const float* row = row_of(s, k, a.recurrent, a.kernel, a.bias) + g * W;
      for (int q = 0; q < 4; ++q)
        store(packed + q * W, load_some(row + q * s.H, s.H - g * W) * all(q == 2 ? 1.0f : MINUS_LOG2E));
    }
}

// The total over parts, packed -> (4H) rows of the gradients of U, V and b. The order of the sum is that of the parts.
void unpack(const Layer& s, const Arrays& a, const float* sums, int64_t parts) {
  const int64_t size = packed_floats(s);
  for (int64_t g = 0; g < groups(s.H); ++g)
    for (int64_t k = 0; k < features(s); ++k, sums += P) {
      float* row = row_of(s, k, a.drecurrent, a.dkernel, a.dbias) + g * W;
      for (int q = 0; q < 4; ++q) {
        vec total = load(sums + q * W);
        for (int64_t part = 1; part < parts; ++part) total = total + load(sums + part * size + q * W);
        store_some(row + q * s.H, total, s.H - g * W);
      }
    }
}

// The transposed weights, for dh = dz Uᵀ and dx = dz Vᵀ: strips of up to 4 vectors of columns, [feature][column],
// with the features of dz in the order of its panels: group, gate, lane.
int64_t strip_floats(const Layer& s, int64_t columns) { return groups(s.H) * P * groups(columns) * W; }
int64_t transposed_floats(const Layer& s, bool dx) { return strip_floats(s, s.H) + (dx ? strip_floats(s, s.I) : 0); }
void transpose_one(const Layer& s, const float* weights, int64_t columns, float* strip) {
  const int64_t G = groups(s.H);
  for (int64_t j0 = 0; j0 < groups(columns) * W; j0 += P) {
    const int64_t width = least(P, groups(columns) * W - j0);
    zero(strip, G * P * width);
    for (int64_t j = j0; j < least(columns, j0 + width); ++j)
      for (int q = 0; q < 4; ++q)
        for (int64_t unit = 0; unit < s.H; ++unit)
          strip[(unit / W * P + q * W + unit % W) * width + j - j0] = weights[j * 4 * s.H + q * s.H + unit];
    strip += G * P * width;
  }
}

void transpose(const Layer& s, const Arrays& a, float* transposed) {
  transpose_one(s, a.recurrent, s.H, transposed);
  if (a.dx) transpose_one(s, a.kernel, s.I, transposed + strip_floats(s, s.H));
}

// A row of inputs: (h, x, 1), so that U, V and b are one matrix.
inline void set_x(const Layer& s, const Arrays& a, int64_t b, int64_t step, float* row) {
  copy(row + s.H, a.x + (b * s.T + time_of(s, step)) * s.I, s.I);
}
inline void set_h(const Layer& s, const Arrays& a, int64_t b, const float* h, float* row) {
  for (int64_t j = 0; j < s.H; j += W) {
    const vec v = load_some(h + j, s.H - j);
    store_some(row + j, a.mask ? v * load_some(a.mask + b * s.H + j, s.H - j) : v, s.H - j);
  }
}

// Fetches what y or dy holds of a step. Its rows lie T H floats apart: no processor knows to fetch them by itself.
inline void fetch_row(const Layer& s, const float* y, int64_t b, int64_t step) {
  for (int64_t j = 0; y && j < s.H; j += 16) fetch(y + (b * s.T + time_of(s, step)) * s.H + j);
}

int64_t forward_scratch(const Layer& s, int64_t n) { return least(BLOCK, n) * (2 * row_floats(s) + groups(s.H) * W); }
void forward(Layer s, Arrays a, const float* packed, float* scratch, int64_t first, int64_t end) {
  const int64_t G = groups(s.H), K = features(s), stride = row_floats(s);
  const bool streamed = s.T * G * s.B * KEPT >= STREAM_FROM && reinterpret_cast<uintptr_t>(a.kept) % 64 == 0;
  for (int64_t b0 = first; b0 < end; b0 += BLOCK) {
    const int64_t n = least(BLOCK, end - b0);
    float *now = scratch, *next = now + n * stride, *c = next + n * stride;  // (n, stride) (n, stride) (n, G W)
    Span spans[BLOCK];
    for (int64_t r = 0; r < n; ++r) {
      const int64_t b = b0 + r;
      spans[r] = span(s, a, b);
      zero(c + r * G * W, G * W);
      copy(c + r * G * W, a.c0 + b * s.H, s.H);
      set_h(s, a, b, a.h0 + b * s.H, now + r * stride);
      set_h(s, a, b, a.h0 + b * s.H, next + r * stride);  // in reverse, padding leaves it as it is
      if (s.T > 0) set_x(s, a, b, 0, now + r * stride);
      copy(a.c_last + b * s.H, a.c0 + b * s.H, s.H), copy(a.h_last + b * s.H, a.h0 + b * s.H, s.H);  // without steps
      if (a.y) zero(a.y + (b * s.T + spans[r].count()) * s.H, (s.T - spans[r].count()) * s.H);
    }
    for (int64_t step = 0; step < s.T; ++step) {
      for (int64_t g = 0; g < G; ++g) {
        const float *w = packed + g * K * P, *following = g + 1 < G ? w + K * P : packed;
        tiles(n, [&](auto rows, int64_t at) {
          constexpr int R = decltype(rows)::value;
          bool any = false;
          for (int r = 0; r < R; ++r) any |= spans[at + r].holds(step);
          if (!any) return;
          vec z[4][R], c_new[R], h_new[R];
          for (int v = 0; v < 4; ++v)
            for (int r = 0; r < R; ++r) z[v][r] = load(w + (K - 1) * P + v * W);  // the bias
          float* y_rows = a.y ? a.y + ((b0 + at) * s.T + time_of(s, step)) * s.H + g * W : nullptr;
          for (int r = 0; y_rows && r < R; ++r) __builtin_prefetch(y_rows + r * s.T * s.H, 1, 3);  // see fetch_row
          multiply(z, now + at * stride, stride, K - 1, w, following + at / ROWS * K * W);
          // The end of a step: from z (that of i, f and o scaled) to c' and h', and where they go.
          float *c_rows = c + at * G * W + g * W, *h_rows = next + at * stride + g * W;
          logistic_scaled(z[0]), logistic_scaled(z[1]), tanh(z[2]), logistic_scaled(z[3]);
          for (int r = 0; r < R; ++r) h_new[r] = c_new[r] = fma(z[1][r], load(c_rows + r * G * W), z[0][r] * z[2][r]);
          tanh(h_new);
          for (int r = 0; r < R; ++r) {
            const Span& span = spans[at + r];
            if (!span.holds(step)) continue;
            const int64_t b = b0 + at + r, to = b * s.H + g * W, units = s.H - g * W;
            const vec h = z[3][r] * h_new[r], values[5] = {z[0][r], z[1][r], z[2][r], z[3][r], c_new[r]};
            store(c_rows + r * G * W, c_new[r]);
            store_some(h_rows + r * stride, a.mask ? h * load_some(a.mask + to, units) : h, units);
            if (y_rows) store_some(y_rows + r * s.T * s.H, h, units);
            if (step == span.last) store_some(a.c_last + to, c_new[r], units), store_some(a.h_last + to, h, units);
            if (!a.kept) continue;
            float* kept = a.kept + ((step * G + g) * s.B + b) * KEPT;
#pragma GCC unroll 5
            for (int q = 0; q < 5; ++q) streamed ? stream(kept + q * W, values[q]) : store(kept + q * W, values[q]);
          }
        });
      }
      for (int64_t r = 0; step + 1 < s.T && r < n; ++r) set_x(s, a, b0 + r, step + 1, next + r * stride);
      float* const before = now;
      now = next, next = before;
    }
  }
  if (streamed) _mm_sfence();
}

// Steps whose weight gradients are summed at once.
inline int64_t slots(int64_t rows) { return most(1, DEPTH / most(1, rows)); }

int64_t backward_scratch(const Layer& s, int64_t rows) {
  const int64_t n = least(BLOCK, rows), wide = groups(s.H) * W;
  return n * 2 * wide + slots(n) * n * (row_floats(s) + 4 * wide);
}

// The state before a step: that before the first one, or what the step before it left.
inline const float* h_before(const Layer& s, const Arrays& a, int64_t b, int64_t step, const Span& span) {
  return step == span.first ? a.h0 + b * s.H : a.y + (b * s.T + time_of(s, step - 1)) * s.H;
}

// The derivative of a step for one row and group (`next_state_gradient` in step.py): dz, and dc of the step before.
// Lanes without a unit are read as 0: they may be NaN, where an input was infinite.
inline void gate_gradients(const float* kept, const float* c_old, const float* dh_row, const float* dy, int64_t units,
                           float* dc, float* dz) {
  const vec dh = dy ? load(dh_row) + load_some(dy, units) : load(dh_row);
  const vec i = load_some(kept, units), f = load_some(kept + W, units);
  const vec g = load_some(kept + 2 * W, units), o = load_some(kept + 3 * W, units);
  vec tanh_c[1] = {load_some(kept + 4 * W, units)};
  tanh(tanh_c);
  const vec dc_new = fma(dh * o, minus_fma(tanh_c[0], tanh_c[0], all(1.0f)), load(dc));
  store(dz, dc_new * g * minus_fma(i, i, i));  // i - i^2 = i (1 - i)
  store(dz + W, dc_new * load_some(c_old, units) * minus_fma(f, f, f));
  store(dz + 2 * W, dc_new * i * minus_fma(g, g, all(1.0f)));
  store(dz + 3 * W, dh * tanh_c[0] * minus_fma(o, o, o));
  store(dc, dc_new * f);
}

// n rows of dz (panels, `apart` floats from group to group) times a transposed matrix: f(row, first column, vector).
template <class F>
void multiply_transposed(int64_t G, int64_t n, const float* dz, int64_t apart, const float* w, int64_t columns,
                         const F& f) {
  for (int64_t j = 0, vectors; j < columns; j += P, w += G * P * vectors * W) {
    vectors = least(4, groups(columns - j));
    tile<4>(vectors, j, [&](auto strip, int64_t j) {
      constexpr int N = decltype(strip)::value;
      tiles(n, [&](auto rows, int64_t at) {
        constexpr int R = decltype(rows)::value;
        vec sums[N][R] = {};
        for (int64_t g = 0; g < G; ++g)
          multiply(sums, dz + g * apart + at * P, P, P, w + g * P * N * W, w + (G * N + g + at / ROWS * G) * P * W);
        for (int r = 0; r < R; ++r)
          for (int v = 0; v < N; ++v) f(at + r, j + v * W, sums[v][r]);
      });
    });
  }
}

// sums [features][P] += the sum over n rows of inputs (`stride` apart) times dz (P apart), for one group. In a tile R
// features take the place of rows. Each starts from zero: a sum of sums rounds less than a long one.
void add_weight_gradients(const float* inputs, int64_t stride, const float* dz, int64_t n, int64_t K, float* sums) {
  tiles(K, [&](auto rows, int64_t at) {
    constexpr int R = decltype(rows)::value;
    vec part[4][R] = {};
    float* to = sums + at * P;
    for (int v = 0; v < 4 * R; ++v) fetch(to + v * W);
    for (int64_t b = 0; b < n; ++b) add_product(part, inputs + b * stride + at, 1, dz + b * P);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < 4; ++v, to += W) store(to, load(to) + part[v][r]);
  });
}

// From the last step to the first. The gradients of the gates and the inputs of some steps (`slots`) are collected, so
// that the product of the weight gradients has DEPTH rows to sum over; dz is in memory for no longer than that.
void backward(Layer s, Arrays a, const float* transposed, float* sums, float* scratch, int64_t first, int64_t end) {
  const int64_t G = groups(s.H), K = features(s), stride = row_floats(s);
  const int64_t most_slots = slots(least(BLOCK, end - first));
  for (int64_t b0 = first; b0 < end; b0 += BLOCK) {
    const int64_t n = least(BLOCK, end - b0), apart = most_slots * n * P;
    float *dh = scratch, *dc = dh + n * G * W;  // (n, G W) each
    float *dz = dc + n * G * W, *inputs = dz + G * apart;  // [group][slot, row][P], [slot, row][stride]
    Span spans[BLOCK];
    for (int64_t r = 0; r < n; ++r) {
      const int64_t b = b0 + r;
      spans[r] = span(s, a, b);
      zero(dh + r * G * W, G * W), zero(dc + r * G * W, G * W);
      copy(dh + r * G * W, a.dh_last + b * s.H, s.H), copy(dc + r * G * W, a.dc_last + b * s.H, s.H);
      if (a.dmask) zero(a.dmask + b * s.H, s.H);
      if (a.dx) zero(a.dx + (b * s.T + spans[r].count()) * s.I, (s.T - spans[r].count()) * s.I);
    }
    int64_t slot = 0;
    for (int64_t step = s.T - 1; step >= 0; --step) {
      float *dz_now = dz + slot * n * P, *row = inputs + slot * n * stride;
      for (int64_t r = 0; r < n; ++r, row += stride) {
        if (!spans[r].holds(step)) zero(row, K);
        else set_h(s, a, b0 + r, h_before(s, a, b0 + r, step, spans[r]), row), set_x(s, a, b0 + r, step, row);
        row[K - 1] = 1.0f;
        fetch_row(s, a.dy, b0 + r, step - 1), fetch_row(s, a.y, b0 + r, step - 2);
      }
      for (int64_t g = 0; g < G; ++g)
        for (int64_t r = 0; r < n; ++r) {
          const int64_t b = b0 + r, units = s.H - g * W;
          float *to = dz_now + g * apart + r * P, *dh_row = dh + r * G * W + g * W, *dc_row = dc + r * G * W + g * W;
          const float* kept = a.kept + ((step * G + g) * s.B + b) * KEPT;
          const float* c_old = step == spans[r].first ? a.c0 + b * s.H + g * W : kept - G * s.B * KEPT + 4 * W;
          const float* dy = a.dy ? a.dy + (b * s.T + time_of(s, step)) * s.H + g * W : nullptr;
          if (!spans[r].holds(step)) zero(to, P);
          else gate_gradients(kept, c_old, dh_row, dy, units, dc_row, to);
        }
      multiply_transposed(G, n, dz_now, apart, transposed, s.H, [&](int64_t r, int64_t j, vec v) {
        if (!spans[r].holds(step)) return;  // padding passes dh on
        if (a.mask) {
          const int64_t b = b0 + r, at = b * s.H + j, units = s.H - j;
          const vec h = load_some(h_before(s, a, b, step, spans[r]) + j, units);
          store_some(a.dmask + at, fma(h, v, load_some(a.dmask + at, units)), units);
          v = v * load_some(a.mask + at, units);
        }
        store(dh + r * G * W + j, v);
      });
      const float* transposed_kernel = transposed + strip_floats(s, s.H);
      multiply_transposed(G, n, dz_now, apart, transposed_kernel, a.dx ? s.I : 0, [&](int64_t r, int64_t j, vec v) {
        if (spans[r].holds(step)) store_some(a.dx + ((b0 + r) * s.T + time_of(s, step)) * s.I + j, v, s.I - j);
      });
      if (++slot < most_slots && step > 0) continue;
      for (int64_t g = 0; g < G; ++g)
        add_weight_gradients(inputs, stride, dz + g * apart, slot * n, K, sums + g * K * P);
      slot = 0;
    }
    for (int64_t r = 0; r < n; ++r)
      copy(a.dh0 + (b0 + r) * s.H, dh + r * G * W, s.H), copy(a.dc0 + (b0 + r) * s.H, dc + r * G * W, s.H);
  }
}

}  // namespace

extern const Kernel KERNEL = {W,    packed_floats, transposed_floats, forward_scratch, backward_scratch,
                              pack, transpose,     forward,           backward,        unpack};
