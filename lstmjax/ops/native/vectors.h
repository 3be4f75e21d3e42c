// Vectors of W floats, and the nonlinearities of the LSTM on them, for one instruction set: compiled with -DWIDTH=16
// for AVX-512, with -DWIDTH=8 for AVX2 and FMA.
//
// Sums of products are written as `fma`, and the compiler is told not to fuse others (-ffp-contract=off): a row has the
// same bytes whatever rows are computed beside it.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace {
constexpr int W = WIDTH;
constexpr float MINUS_LOG2E = -1.44269504088896f;

#if WIDTH == 16
#define KERNEL kernel_avx512
typedef __m512 vec;
#define MM(name) _mm512_##name
#else
#define KERNEL kernel_avx2
typedef __m256 vec;
#define MM(name) _mm256_##name
#endif

inline vec load(const float* p) { return MM(loadu_ps)(p); }
inline void store(float* p, vec v) { MM(storeu_ps)(p, v); }
inline void stream(float* p, vec v) { MM(stream_ps)(p, v); }  // past the caches
inline void fetch(const float* p) { __builtin_prefetch(p, 0, 2); }  // into the second cache; any address is allowed
inline vec all(float a) { return MM(set1_ps)(a); }
inline vec fma(vec a, vec b, vec c) { return MM(fmadd_ps)(a, b, c); }
inline vec minus_fma(vec a, vec b, vec c) { return MM(fnmadd_ps)(a, b, c); }  // c - a b
// Not beyond a bound on either side. The order of the operands lets NaN through.
inline vec within(vec x, float low, float high) { return MM(max_ps)(all(low), MM(min_ps)(all(high), x)); }

// load_some, store_some: the first n floats only, 0 < n; lanes after them are 0.
// divide: a / b, to one rounding or so.
// fraction: x - floor(x). scale: p 2^floor(x). exponent: x within the exponents of normal numbers.
#if WIDTH == 16
inline __mmask16 first_lanes(int64_t n) { return n >= W ? 0xffff : (1u << n) - 1; }
inline vec load_some(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
inline void store_some(float* p, vec v, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }
inline vec divide(vec a, vec b) {  // an approximate reciprocal, and a correction by the remainder
  const vec r = _mm512_rcp14_ps(b), q = a * r;
  return fma(minus_fma(q, b, a), r, q);
}
inline vec exponent(vec x) { return _mm512_min_ps(all(127.0f), x); }  // `scale` knows what is too small
inline vec fraction(vec x) { return _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
inline vec scale(vec p, vec x) { return _mm512_scalef_ps(p, x); }
#else
inline __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < W ? int(n) : W), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline vec load_some(const float* p, int64_t n) { return n >= W ? load(p) : _mm256_maskload_ps(p, first_lanes(n)); }
inline void store_some(float* p, vec v, int64_t n) { n >= W ? store(p, v) : _mm256_maskstore_ps(p, first_lanes(n), v); }
inline vec divide(vec a, vec b) { return a / b; }
inline vec exponent(vec x) { return within(x, -126.0f, 127.0f); }
inline vec fraction(vec x) { return x - _mm256_floor_ps(x); }
inline vec scale(vec p, vec x) {
  const __m256i n = _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_floor_ps(x)), _mm256_set1_epi32(127));
  return p * _mm256_castsi256_ps(_mm256_slli_epi32(n, 23));
}
#endif

// Functions of R vectors, those of the rows of a tile: a constant is loaded once for all, and one vector is computed
// while another waits for its last result.
#define INLINE inline __attribute__((always_inline))
template <int N, int R>
INLINE void polynomial(const float (&c)[N], const vec (&x)[R], vec (&p)[R]) {  // the highest coefficient first
  for (int r = 0; r < R; ++r) p[r] = all(c[0]);
  for (int k = 1; k < N; ++k)
    for (int r = 0; r < R; ++r) p[r] = fma(p[r], x[r], all(c[k]));
}

// In place: the logistic function σ(z) = 1 / (1 + 2^x) for x = -z log2(e), a factor that the packed weights hold. 2^x
// is a polynomial on [0, 1), minimax in the relative error (8e-8), times a power of 2.
template <int R>
INLINE void logistic_scaled(vec (&x)[R]) {
  constexpr float c[] = {0.00187757669f, 0.00898933969f, 0.0558263175f, 0.240153611f, 0.693153083f, 0.99999994f};
  vec rest[R], p[R];
  for (int r = 0; r < R; ++r) x[r] = exponent(x[r]), rest[r] = fraction(x[r]);
  polynomial(c, rest, p);
  for (int r = 0; r < R; ++r) x[r] = divide(all(1.0f), 1.0f + scale(p[r], x[r]));
}

// In place: tanh(x) = x p(x^2) / q(x^2) on [-9, 9], beyond which it is 1 in float32: within 3e-7.
template <int R>
INLINE void tanh(vec (&x)[R]) {
  constexpr float p[] = {1.33546552e-08f, 2.06090917e-05f, 0.00349558773f, 0.133810252f, 1.0f};
  constexpr float q[] = {7.77655885e-07f, 0.000328563445f, 0.025876984f, 0.467143357f, 1.0f};
  vec square[R], above[R], below[R];
  for (int r = 0; r < R; ++r) x[r] = within(x[r], -9.2f, 9.2f), square[r] = x[r] * x[r];
  polynomial(p, square, above), polynomial(q, square, below);
  for (int r = 0; r < R; ++r) x[r] = within(divide(x[r] * above[r], below[r]), -1.0f, 1.0f);
}

}  // namespace
