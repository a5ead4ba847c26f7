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
#define ADD(x, y) _mm256_add_epi64(x, y)
#define MUL(x, y) _mm256_mul_epu32(x, y)
#define XOR(x, y) _mm256_xor_si256(x, y)
#define HIGH(x) _mm256_shuffle_epi32(x, _MM_SHUFFLE(0, 3, 0, 1))
#define SWAP(x) _mm256_shuffle_epi32(x, _MM_SHUFFLE(1, 0, 3, 2))
#define STORE(to, v) _mm256_storeu_si256((__m256i *)(void *)(to), v)
#define STREAM(to, v) _mm256_stream_si256((__m256i *)(void *)(to), v)

#define JOIN(x, y, shift, index) join(x, y, shift, index)
#define INDEX(shift) joining(shift)
#define JOINS(shift) ((shift) % 4 == 0)

#include <stdint.h>

/* Word k of the result is word index[k] of x where that is beyond k, and of y elsewhere. */
static inline __m256i joining(uint64_t shift)
{
	int32_t at[8], k;

	for (k = 0; k < 8; k++)
		at[k] = (k - (int32_t)(shift / 4)) & 7;
	return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static inline __m256i join(__m256i x, __m256i y, uint64_t shift, __m256i index)
{
	__m256i of_x;

	if (shift == 16) /* as malloc() returns large memory */
		return _mm256_permute2x128_si256(x, y, 0x21);
	of_x = _mm256_cmpgt_epi32(index, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
	x = _mm256_permutevar8x32_epi32(x, index);
	return _mm256_blendv_epi8(_mm256_permutevar8x32_epi32(y, index), x, of_x);
}

#define XXH_VECTOR 2 /* XXH_AVX2: clang's attribute does not define __AVX2__, so the header cannot see it */
#include "lib/arena/block_simd.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
