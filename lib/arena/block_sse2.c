/* block.h with 128-bit vectors: every x86-64. */
#if defined(__x86_64__)
#include <emmintrin.h>

#define VARIANT sse2
#define VECTOR __m128i
#define LOAD(from) _mm_loadu_si128((const __m128i *)(const void *)(from))
#define KEEP(v) __asm__("" : "+x"(v))
#define CLEAR() ((void)0)
#define STORE(to, v) _mm_storeu_si128((__m128i *)(void *)(to), v)
#define STREAM(to, v) _mm_stream_si128((__m128i *)(void *)(to), v)
#define XXH_VECTOR 1 /* XXH_SSE2 */
#include "lib/arena/block_simd.h"
#endif
