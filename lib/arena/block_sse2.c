/* block.h with 128-bit vectors: every x86-64. */
#if defined(__x86_64__)
#include <emmintrin.h>

#define VARIANT sse2
#define VECTOR __m128i
#define LOAD(from) _mm_loadu_si128((const __m128i *)(const void *)(from))
#define KEEP(v) __asm__("" : "+x"(v))
#define CLEAR() ((void)0)
#define ADD(x, y) _mm_add_epi64(x, y)
#define MUL(x, y) _mm_mul_epu32(x, y)
#define XOR(x, y) _mm_xor_si128(x, y)
#define HIGH(x) _mm_shuffle_epi32(x, _MM_SHUFFLE(0, 3, 0, 1))
#define SWAP(x) _mm_shuffle_epi32(x, _MM_SHUFFLE(1, 0, 3, 2))
#define STORE(to, v) _mm_storeu_si128((__m128i *)(void *)(to), v)
#define STREAM(to, v) _mm_stream_si128((__m128i *)(void *)(to), v)
#define XXH_VECTOR 1 /* XXH_SSE2 */
#include "lib/arena/block_simd.h"
#endif
