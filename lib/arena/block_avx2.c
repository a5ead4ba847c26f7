/* block.h with 256-bit vectors. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

#define VARIANT avx2
#define VECTOR __m256i
#define LOAD(from) _mm256_loadu_si256((const __m256i *)(const void *)(from))
#define KEEP(v) __asm__("" : "+x"(v))
#define CLEAR() _mm256_zeroupper()
#define STORE(to, v) _mm256_storeu_si256((__m256i *)(void *)(to), v)
#define STREAM(to, v) _mm256_stream_si256((__m256i *)(void *)(to), v)

#define JOIN(x, y, index) ((void)(index), _mm256_permute2x128_si256(x, y, 0x21))
#define INDEX(shift) _mm256_setzero_si256()
#define JOINS(shift) ((shift) == 16) /* as malloc() gives it */

#define XXH_VECTOR 2 /* XXH_AVX2: clang's attribute does not define __AVX2__, so the header cannot see it */
#include "lib/arena/block_simd.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
