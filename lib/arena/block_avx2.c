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
#define STORE(to, v) _mm256_storeu_si256((__m256i *)(void *)(to), v)
#define STREAM(to, v) _mm256_stream_si256((__m256i *)(void *)(to), v)
#define STREAM16(to, v) stream16(to, v)

#include <stdint.h>

static inline void stream16(uint8_t *to, __m256i v)
{
	_mm_stream_si128((__m128i *)(void *)to, _mm256_castsi256_si128(v));
	_mm_stream_si128((__m128i *)(void *)(to + 16), _mm256_extracti128_si256(v, 1));
}

#define XXH_VECTOR 2 /* XXH_AVX2: clang's attribute does not define __AVX2__, so the header cannot see it */
#include "lib/arena/block_simd.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
