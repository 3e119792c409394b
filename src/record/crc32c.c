/* crc32c: see crc32c.h. The CPU's instruction where it has SSE4.2, else a table of half bytes: the fallback
 * is for machines older than 2008, so it is small rather than fast. */
#include "record/crc32c.h"

#include <string.h>

/* Remainders of the 16 half bytes by the polynomial. */
static const uint32_t half_bytes[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t crc32c_portable(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= at[i];
        crc = (crc >> 4) ^ half_bytes[crc & 15];
        crc = (crc >> 4) ^ half_bytes[crc & 15];
    }
    return ~crc;
}

#ifdef __x86_64__
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint64_t crc = UINT32_MAX;
    for (; len >= 8; len -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        crc = _mm_crc32_u64(crc, word);
    }
    for (; len; len--, at++)
        crc = _mm_crc32_u8((uint32_t)crc, *at);
    return ~(uint32_t)crc;
}

uint32_t crc32c(const void *bytes, size_t len)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_sse42(bytes, len) : crc32c_portable(bytes, len);
}
#else
uint32_t crc32c(const void *bytes, size_t len)
{
    return crc32c_portable(bytes, len);
}
#endif
