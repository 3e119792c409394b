/* text: see text.h. */
#include "python/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/unicode.h"

int py_read_str(struct py_runtime *rt, uint64_t object, struct buf *out)
{
    const struct layout *l = &rt->layout;
    uint8_t head[128], data[PY_TEXT_MAX];
    struct unicode text;
    size_t head_len = max_u64(l->unicode.length + 8, l->unicode.state + 4);
    if (head_len > sizeof(head))
        return -ERANGE;
    int err = object ? memory_read(&rt->memory, object, head, head_len) : -EBADMSG;
    if (err)
        return err;
    if (!unicode_head(l, head, &text))
        return -EBADMSG;
    size_t n = (size_t)min_u64(text.length, PY_TEXT_MAX / text.kind);
    err = memory_read(&rt->memory, object + text.data, data, n * text.kind);
    for (size_t i = 0; !err && i < n; i++) {
        uint8_t bytes[UNICODE_UTF8_MAX];
        buf_put(out, bytes, unicode_utf8(bytes, unicode_at(data, text.kind, i)));
    }
    return err ? err : out->error;
}

int py_read_bytes(struct py_runtime *rt, uint64_t object, uint8_t **out, size_t *len)
{
    uint64_t size;
    *out = NULL;
    *len = 0;
    int err = object ? memory_read_u64(&rt->memory, object + rt->layout.bytes.size, &size) : -EBADMSG;
    if (err)
        return err;
    if (size > PY_BYTES_MAX)
        return -EFBIG;
    uint8_t *data = malloc(size + 1);
    if (!data)
        return -ENOMEM;
    err = memory_read(&rt->memory, object + rt->layout.bytes.data, data, size);
    if (err) {
        free(data);
        return err;
    }
    *out = data;
    *len = size;
    return 0;
}
