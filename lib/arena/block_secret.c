/* The secret of XXH3 as block_stripe.h reads it: for each stripe of a slice the eight numbers that it is mixed with, and
 * behind them those of the last stripe of all. XXH3 has each stripe's eight bytes behind those of the one before;
 * there most of them would lie across two cache lines, and reading one costs as much as reading two. */
#include "lib/arena/block.h"

#define W0 UINT64_C(0xbe4ba423396cfeb8)
#define W1 UINT64_C(0x1cad21f72c81017c)
#define W2 UINT64_C(0xdb979083e96dd4de)
#define W3 UINT64_C(0x1f67b3b7a4a44072)
#define W4 UINT64_C(0x78e5c0cc4ee679cb)
#define W5 UINT64_C(0x2172ffcc7dd05a82)
#define W6 UINT64_C(0x8e2443f7744608b8)
#define W7 UINT64_C(0x4c263a81e69035e0)
#define W8 UINT64_C(0xcb00c391bb52283c)
#define W9 UINT64_C(0xa32e531b8b65d088)
#define W10 UINT64_C(0x4ef90da297486471)
#define W11 UINT64_C(0xd8acdea946ef1938)
#define W12 UINT64_C(0x3f349ce33f76faa8)
#define W13 UINT64_C(0x1d4f0bc7c7bbdcf9)
#define W14 UINT64_C(0x3159b4cd4be0518a)
#define W15 UINT64_C(0x647378d9c97e9fc8)
#define W16 UINT64_C(0xc3ebd33483acc5ea)
#define W17 UINT64_C(0xeb6313faffa081c5)
#define W18 UINT64_C(0x49daf0b751dd0d17)
#define W19 UINT64_C(0x9e68d429265516d3)
#define W20 UINT64_C(0xfca1477d58be162b)
#define W21 UINT64_C(0xce31d07ad1b8f88f)
#define W22 UINT64_C(0x280416958f3acb45)

_Alignas(64) const uint64_t block_secret[BLOCK_SECRETS][8] = {
	{W0, W1, W2, W3, W4, W5, W6, W7},
	{W1, W2, W3, W4, W5, W6, W7, W8},
	{W2, W3, W4, W5, W6, W7, W8, W9},
	{W3, W4, W5, W6, W7, W8, W9, W10},
	{W4, W5, W6, W7, W8, W9, W10, W11},
	{W5, W6, W7, W8, W9, W10, W11, W12},
	{W6, W7, W8, W9, W10, W11, W12, W13},
	{W7, W8, W9, W10, W11, W12, W13, W14},
	{W8, W9, W10, W11, W12, W13, W14, W15},
	{W9, W10, W11, W12, W13, W14, W15, W16},
	{W10, W11, W12, W13, W14, W15, W16, W17},
	{W11, W12, W13, W14, W15, W16, W17, W18},
	{W12, W13, W14, W15, W16, W17, W18, W19},
	{W13, W14, W15, W16, W17, W18, W19, W20},
	{W14, W15, W16, W17, W18, W19, W20, W21},
	{W15, W16, W17, W18, W19, W20, W21, W22},
	{UINT64_C(0xea647378d9c97e9f), UINT64_C(0xc5c3ebd33483acc5), UINT64_C(0x17eb6313faffa081),
	 UINT64_C(0xd349daf0b751dd0d), UINT64_C(0x2b9e68d429265516), UINT64_C(0x8ffca1477d58be16),
	 UINT64_C(0x45ce31d07ad1b8f8), UINT64_C(0xaf280416958f3acb)},
};
