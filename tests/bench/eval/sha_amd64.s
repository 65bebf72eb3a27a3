#include "textflag.h"

// The state lives in X1 (a b e f) and X2 (c d g h), sixteen words of the message
// in X3 to X6, and X0 takes the four that are next, each with its constant.

#define LOAD(i, m) \
	MOVOU (16*(i))(DI), m; \
	PSHUFB X8, m

#define ROUNDS(i, m) \
	MOVOU (16*(i))(SI), X0; \
	PADDD m, X0; \
	SHA256RNDS2 X0, X1, X2; \
	PSHUFD $0x0e, X0, X0; \
	SHA256RNDS2 X0, X2, X1

// EXTEND makes the next four words of the message in place of the oldest.
#define EXTEND(a, b, c, d) \
	SHA256MSG1 b, a; \
	MOVO d, X7; \
	PALIGNR $4, c, X7; \
	PADDD X7, a; \
	SHA256MSG2 d, a

#define EXTENDED_ROUNDS(i) \
	EXTEND(X3, X4, X5, X6); \
	ROUNDS(i, X3); \
	EXTEND(X4, X5, X6, X3); \
	ROUNDS(i+1, X4); \
	EXTEND(X5, X6, X3, X4); \
	ROUNDS(i+2, X5); \
	EXTEND(X6, X3, X4, X5); \
	ROUNDS(i+3, X6)

DATA swap<>+0(SB)/8, $0x0405060700010203
DATA swap<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL swap<>(SB), RODATA|NOPTR, $16

// func shaBlock(start *[4]uint64, constants *[64]uint32, block *[64]byte) uint64
TEXT ·shaBlock(SB), NOSPLIT, $0-32
	MOVQ start+0(FP), AX
	MOVQ constants+8(FP), SI
	MOVQ block+16(FP), DI
	MOVOU 0(AX), X1
	MOVOU 16(AX), X2
	MOVOU swap<>(SB), X8
	LOAD(0, X3)
	ROUNDS(0, X3)
	LOAD(1, X4)
	ROUNDS(1, X4)
	LOAD(2, X5)
	ROUNDS(2, X5)
	LOAD(3, X6)
	ROUNDS(3, X6)
	EXTENDED_ROUNDS(4)
	EXTENDED_ROUNDS(8)
	EXTENDED_ROUNDS(12)
	MOVOU 0(AX), X0
	PADDD X0, X1
	PEXTRQ $1, X1, AX
	MOVQ AX, ret+24(FP)
	RET

// func cpuid(leaf, subleaf uint32) (ebx, ecx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-16
	MOVL leaf+0(FP), AX
	MOVL subleaf+4(FP), CX
	CPUID
	MOVL BX, ebx+8(FP)
	MOVL CX, ecx+12(FP)
	RET
