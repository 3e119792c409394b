/* demangle: see demangle.h. By libiberty (decisions/0025), which bounds its recursion. */
#include "native/demangle.h"

#include <stdlib.h>
#include <string.h>

#include <libiberty/demangle.h>

#define GLIBC_ALIAS "__GI_"

/* Numba's mangling is that of C++ with what C++ cannot say as _XX, hexadecimal, and the number of the
 * function and how it was compiled as ABI tags (numba.core.itanium_mangler). */
#define NUMBA_TAG "[abi:v"
#define NUMBA_WRAPPER "cpython::"
/* "<locals>" */
#define NUMBA_LOCALS "_3clocals_3e"

static char *demangled(const char *symbol)
{
    bool mangled = symbol[0] == '_' && (symbol[1] == 'Z' || symbol[1] == 'R');
    return mangled && strlen(symbol) < DEMANGLE_MAX ? cplus_demangle(symbol, DMGL_AUTO) : NULL;
}

void demangle(struct buf *out, const char *symbol)
{
    bool alias = strncmp(symbol, GLIBC_ALIAS, strlen(GLIBC_ALIAS)) == 0;
    const char *plain = alias ? symbol + strlen(GLIBC_ALIAS) : symbol;
    char *name = demangled(plain);
    const char *text = name ? name : plain, *version = strchr(text, '@');
    buf_put(out, text, version > text ? (size_t)(version - text) : strlen(text));
    free(name);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Appends text with :: as a point and _XX as the character that it stands for. */
static void put_plain(struct buf *out, const char *text, const char *end)
{
    while (text < end) {
        int high = text + 2 < end && *text == '_' ? hex_digit(text[1]) : -1;
        int low = high >= 2 && high < 8 ? hex_digit(text[2]) : -1;
        if (low >= 0) {
            buf_put_u8(out, (uint8_t)(high << 4 | low));
            text += 3;
        } else if (text + 1 < end && text[0] == ':' && text[1] == ':') {
            buf_put_u8(out, '.');
            text += 2;
        } else {
            buf_put_u8(out, (uint8_t)*text++);
        }
    }
}

/* Where the qualified name begins: behind the module, whose functions may contain others. */
static const char *qualified_name(const char *text, const char *end)
{
    const char *name = text;
    for (const char *at = text; at + 1 < end; at++) {
        if (at[0] != ':' || at[1] != ':')
            continue;
        if ((size_t)(end - at) >= 2 + strlen(NUMBA_LOCALS) &&
            memcmp(at + 2, NUMBA_LOCALS, strlen(NUMBA_LOCALS)) == 0)
            return name;
        name = at + 2;
    }
    return name;
}

bool demangle_numba(struct buf *name, struct buf *module, bool *wrapper, const char *symbol)
{
    /* "cfunc._ZN...", "__gufunc__._ZN..." and the like. */
    const char *point = strstr(symbol, "._ZN");
    char *text = demangled(point ? point + 1 : symbol);
    const char *end = text ? strstr(text, NUMBA_TAG) : NULL, *begin = text;
    *wrapper = point != NULL;
    if (end && strncmp(begin, NUMBA_WRAPPER, strlen(NUMBA_WRAPPER)) == 0) {
        *wrapper = true;
        begin += strlen(NUMBA_WRAPPER);
    }
    if (end) {
        const char *qualified = qualified_name(begin, end);
        put_plain(name, qualified, end);
        put_plain(module, begin, qualified > begin ? qualified - 2 : begin);
    }
    free(text);
    return end;
}
