/* json_text: see json_text.h. */
#include "report/json_text.h"

#include "base/buf.h"
#include "base/utf8.h"

/* No string of a recording is longer, even if each byte of it has to be replaced by three. */
#define STRING_MAX (4u << 20)

json_t *json_text(const char *s, size_t len)
{
    struct buf b;
    buf_init(&b, STRING_MAX);
    for (size_t i = 0, used; i < len; i += used) {
        if (utf8_next(s + i, len - i, &used) == UTF8_INVALID)
            buf_put_str(&b, "\xef\xbf\xbd");
        else
            buf_put(&b, s + i, used);
    }
    json_t *j = json_stringn_nocheck(b.len ? (char *)b.data : "", b.len);
    buf_release(&b);
    return j;
}

json_t *json_text_of(const struct rec_reader *r, uint32_t id)
{
    size_t len;
    const char *s = rec_reader_string(r, id, &len);
    return json_text(s, len);
}

json_t *json_words(const char *args, size_t len)
{
    json_t *list = json_array();
    for (size_t i = 0; i < len;) {
        size_t n = strnlen(args + i, len - i);
        json_array_append_new(list, json_text(args + i, n));
        i += n + 1;
    }
    return list;
}
