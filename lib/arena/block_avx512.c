/* block.h with 512-bit vectors. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f")
#endif

#define VARIANT avx512
#define VECTOR __m512i
#define LOAD(from) _mm512_loadu_si512(from)
#define KEEP(v) __asm__("" : "+v"(v))
#define STORE(to, v) _mm512_storeu_si512(to, v)
#define STREAM(to, v) _mm512_stream_si512((__m512i *)(void *)(to), v)
#define STREAM16(to, v) stream16(to, v)

#include <stdint.h>

static inline void stream16(uint8_t *to, __m512i v)
{
	_mm_stream_si128((__m128i *)(void *)to, _mm512_castsi512_si128(v));
	_mm_stream_si128((__m128i *)(void *)(to + 16), _mm512_extracti32x4_epi32(v, 1));
	_mm_stream_si128((__m128i *)(void *)(to + 32), _mm512_extracti32x4_epi32(v, 2));
	_mm_stream_si128((__m128i *)(void *)(to + 48), _mm512_extracti32x4_epi32(v, 3));
}

#define XXH_VECTOR 3 /* XXH_AVX512: see block_avx2.c */
#include "lib/arena/block_simd.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
