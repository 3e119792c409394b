/* prologue: how to leave a function that has no call frame information, by its first instructions.
 *
 * Assemblers' functions often come without (the kernels of OpenBLAS do). Where the stack pointer was at the
 * call and which registers were saved where follows from pushes, subtractions and moves at their beginning. A
 * guess: what is done later, or the way out, is not seen. x86-64. Knows bytes alone.
 */
#ifndef ZOND_NATIVE_PROLOGUE_H
#define ZOND_NATIVE_PROLOGUE_H

#include "native/cfi.h"

/* So many bytes from a function's beginning are looked at. */
#define PROLOGUE_MAX 256

/* code: the bytes from the function's beginning up to the instruction in question, at most PROLOGUE_MAX. The
 * rules hold there if no later instruction undid them. */
void prologue_rules(const uint8_t *code, size_t len, struct cfi *out);

#endif
