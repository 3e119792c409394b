/* text: see text.h. Cleaning and cutting are two steps, so that cutting deals with printable characters
 * only and can never split an escape sequence of the terminal, as there is none.
 */
#include "report/text.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "base/utf8.h"

/* Printable by wcwidth and yet not to be shown: it has no width of its own, or turns the line around. */
static bool is_hidden(uint32_t c)
{
    return (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
           c == 0x061c || c == 0xfeff || c == 0xad || (c >= 0xe0000 && c <= 0xe0fff);
}

static bool is_shown(uint32_t c, bool unicode)
{
    if (c < 0x80)
        return c >= 0x20 && c < 0x7f;
    return unicode && !is_hidden(c) && wcwidth((wchar_t)c) >= 0;
}

/* The escape of what is not shown; returns its length. */
static int escape(char out[static 16], uint32_t c, unsigned char byte)
{
    if (c == UTF8_INVALID || c < 0x80)
        return byte == '\n' ? snprintf(out, 16, "\\n") : snprintf(out, 16, "\\x%02x", byte);
    return snprintf(out, 16, c > 0xffff ? "\\U%08x" : "\\u%04x", (unsigned)c);
}

int text_clean(struct buf *out, const char *s, size_t len, bool unicode)
{
    int width = 0;
    char escaped[16];
    if (len > TEXT_MAX)
        len = TEXT_MAX;
    for (size_t i = 0, used; i < len; i += used) {
        uint32_t c = utf8_next(s + i, len - i, &used);
        if (c == '\t') {
            buf_put_str(out, "    ");
            width += 4;
        } else if (c != UTF8_INVALID && is_shown(c, unicode)) {
            buf_put(out, s + i, used);
            width += c < 0x80 ? 1 : wcwidth((wchar_t)c);
        } else {
            int n = escape(escaped, c, (unsigned char)s[i]);
            buf_put(out, escaped, (size_t)n);
            width += n;
        }
    }
    return width;
}

/* Columns of the character at s; *used as of utf8_next. */
static int char_width(const char *s, size_t len, size_t *used)
{
    uint32_t c = utf8_next(s, len, used);
    int w = c < 0x80 ? 1 : wcwidth((wchar_t)c);
    return w < 0 ? 0 : w;
}

int text_width(const char *clean, size_t len)
{
    int width = 0;
    for (size_t i = 0, used; i < len; i += used)
        width += char_width(clean + i, len - i, &used);
    return width;
}

/* How many bytes of the start fit into `width` columns; *columns is what they take. */
static size_t head_of(const char *clean, size_t len, int width, int *columns)
{
    size_t i = 0;
    *columns = 0;
    for (size_t used; i < len; i += used) {
        int w = char_width(clean + i, len - i, &used);
        if (*columns + w > width)
            break;
        *columns += w;
    }
    return i;
}

/* Where the end starts that fits into `width` columns. */
static size_t tail_of(const char *clean, size_t len, int width, int *columns)
{
    int all = text_width(clean, len);
    size_t i = 0;
    for (size_t used; i < len && all > width; i += used)
        all -= char_width(clean + i, len - i, &used);
    *columns = all;
    return i;
}

int text_fit(struct buf *out, const char *clean, size_t len, int width, enum text_cut cut, bool unicode)
{
    const char *dots = unicode ? "\u2026" : "..";
    int room = width - (unicode ? 1 : 2);
    int all = text_width(clean, len);
    int head = 0;
    int tail = 0;
    if (all <= width) {
        buf_put(out, clean, len);
        return all;
    }
    if (room < 1) {
        buf_put(out, clean, head_of(clean, len, width > 0 ? width : 0, &head));
        return head;
    }
    int head_room = cut == TEXT_CUT_END ? room : cut == TEXT_CUT_START ? 0 : room / 3;
    buf_put(out, clean, head_of(clean, len, head_room, &head));
    buf_put_str(out, dots);
    size_t from = tail_of(clean, len, cut == TEXT_CUT_END ? 0 : room - head, &tail);
    buf_put(out, clean + from, len - from);
    return width - room + head + tail;
}
