/* block.h with 512-bit vectors. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vbmi"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vbmi")
#endif

#define VARIANT avx512
#define VECTOR __m512i
#define LOAD(from) _mm512_loadu_si512(from)
#define KEEP(v) __asm__("" : "+v"(v))
#define CLEAR() _mm256_zeroupper()
#define ADD(x, y) _mm512_add_epi64(x, y)
#define MUL(x, y) _mm512_mul_epu32(x, y)
#define XOR(x, y) _mm512_xor_si512(x, y)
#define HIGH(x) _mm512_shuffle_epi32(x, (_MM_PERM_ENUM)_MM_SHUFFLE(0, 3, 0, 1))
#define SWAP(x) _mm512_shuffle_epi32(x, (_MM_PERM_ENUM)_MM_SHUFFLE(1, 0, 3, 2))
#define STORE(to, v) _mm512_storeu_si512(to, v)
#define STREAM(to, v) _mm512_stream_si512((__m512i *)(void *)(to), v)

#define JOIN(x, y, shift, index) _mm512_permutex2var_epi8(x, index, y)
#define INDEX(shift) joining(shift)
#define JOINS(shift) 1

#include <stdint.h>

/* Which of the 128 bytes of two vectors. */
static inline __m512i joining(uint64_t shift)
{
	uint8_t at[64];
	uint64_t i;

	for (i = 0; i < sizeof at; i++)
		at[i] = (uint8_t)(sizeof at - shift + i);
	return _mm512_loadu_si512(at);
}

#define XXH_VECTOR 3 /* XXH_AVX512: see block_avx2.c */
#include "lib/arena/block_simd.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
