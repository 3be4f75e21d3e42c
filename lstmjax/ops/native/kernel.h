// What the handlers of XLA's calls (ffi.cc) know of the kernel, which is compiled once per instruction set (kernel.cc).
#pragma once
#include <cstdint>

struct Layer {
  int64_t B, T, I, H;
  bool reverse;  // each sequence from its last step to its first
};

// The arrays of one model, float32 and row-major. Those marked * may be null: absent, or not asked for.
struct Arrays {
  float *x, *kernel, *recurrent, *bias;   // (B, T, I) (I, 4H) (H, 4H) (4H)
  float *c0, *h0, *mask;                  // (B, H): the state before the first step; *the factor on h
  int32_t* lengths;                       // (B): *the steps that count in each sequence
  float *c_last, *h_last, *y;             // (B, H) (B, H) *(B, T, H)
  float* kept;                            // *(T, groups, B, 5 W): the gates and c, see kernel.cc
  float *dc_last, *dh_last, *dy;          // (B, H) (B, H) *(B, T, H)
  float *dkernel, *drecurrent, *dbias;    // as the weights
  float *dc0, *dh0, *dmask, *dx;          // as those; *dmask, *dx
};

struct Kernel {
  int width;  // W
  int64_t (*packed_floats)(const Layer&);  // of the packed weights, and of the sums of their gradients
  int64_t (*transposed_floats)(const Layer&, bool dx);
  int64_t (*forward_scratch)(const Layer&, int64_t rows);  // for so many rows of the batch
  int64_t (*backward_scratch)(const Layer&, int64_t rows);
  void (*pack)(const Layer&, const Arrays&, float* packed);
  void (*transpose)(const Layer&, const Arrays&, float* transposed);
  // Rows [first, end) of the batch, through all of time. (By value: local copies stay in registers.)
  void (*forward)(Layer, Arrays, const float* packed, float* scratch, int64_t first, int64_t end);
  // Adds to `sums`, which the caller has zeroed.
  void (*backward)(Layer, Arrays, const float* transposed, float* sums, float* scratch, int64_t first, int64_t end);
  // The gradients of the weights: the total of the sums of some parts of the batch.
  void (*unpack)(const Layer&, const Arrays&, const float* sums, int64_t parts);
};

extern const Kernel kernel_avx512, kernel_avx2;
