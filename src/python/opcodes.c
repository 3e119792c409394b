/* opcodes: which instructions of each version call something.
 *
 * Ranges of opcode numbers, specialised and instrumented forms included, because the bytecode is read as it
 * stands in memory. Everything named CALL, PRECALL or INSTRUMENTED_CALL, alone or with a suffix, is a call;
 * not so CALL_FINALLY (a jump) and CALL_INTRINSIC_* (the interpreter's own helpers). A call under
 * INSTRUMENTED_LINE or INSTRUMENTED_INSTRUCTION hides behind that opcode and is not seen.
 * tests/layout/opcodes.py recomputes the sets from the interpreters' own tables.
 */
#include "python/layout.h"

struct range {
    uint8_t first, last;
};

/* Ranges of one version; {0, 0} for the unused ones, since opcode 0 never calls. */
struct calls {
    uint32_t version;
    struct range ranges[12];
};

/* clang-format off */
static const struct calls calls[] = {
    {0x0308, {{131, 131}, {141, 142}, {161, 161}}},
    {0x0309, {{131, 131}, {141, 142}, {161, 161}}},
    {0x030a, {{131, 131}, {141, 142}, {161, 161}}},
    {0x030b, {{22, 24}, {64, 67}, {72, 73}, {76, 81}, {113, 113}, {121, 121}, {127, 127}, {141, 143},
              {166, 166}, {171, 171}}},
    {0x030c, {{23, 24}, {28, 29}, {34, 34}, {38, 48}, {56, 56}, {142, 142}, {171, 171}, {241, 241},
              {244, 244}}},
    {0x030d, {{53, 54}, {57, 57}, {162, 181}, {244, 246}}},
    {0x030e, {{4, 4}, {52, 52}, {55, 55}, {143, 165}, {250, 252}}},
    {0x030f, {{4, 4}, {50, 50}, {53, 53}, {144, 168}, {249, 251}}},
};
/* clang-format on */

static bool in_ranges(const struct calls *set, uint8_t opcode)
{
    for (size_t i = 0; i < ARRAY_LEN(set->ranges); i++)
        if (opcode && opcode >= set->ranges[i].first && opcode <= set->ranges[i].last)
            return true;
    return false;
}

bool opcode_is_call(uint32_t version, uint8_t opcode)
{
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if (calls[i].version == version)
            return in_ranges(&calls[i], opcode);
    return false;
}
