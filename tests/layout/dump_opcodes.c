/* Prints the opcodes that opcode_is_call takes for calls in a version, one number a line.
 * Usage: dump_opcodes 3.11
 */
#include "python/layout.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    unsigned minor;
    if (argc != 2 || sscanf(argv[1], "3.%u", &minor) != 1 || minor > 255)
        return EXIT_FAILURE;
    for (unsigned opcode = 0; opcode < 256; opcode++)
        if (opcode_is_call(3u << 8 | minor, (uint8_t)opcode))
            printf("%u\n", opcode);
    return EXIT_SUCCESS;
}
