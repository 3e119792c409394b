/* crc32c: the Castagnoli CRC (reflected polynomial 0x82F63B78, start and final XOR all ones), as in iSCSI. */
#ifndef ZOND_RECORD_CRC32C_H
#define ZOND_RECORD_CRC32C_H

#include "base/base.h"

uint32_t crc32c(const void *bytes, size_t len);
/* The same without the CPU's instruction; crc32c uses it where there is none. */
uint32_t crc32c_portable(const void *bytes, size_t len);

#endif
