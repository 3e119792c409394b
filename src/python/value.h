/* value: an object of another process as text, much as its repr would be, by reading alone.
 *
 * Nothing of the object is called and none of it is trusted: it may change or be freed while it is read. A
 * type counts as one only when its own type is `type` or derived from it. Each pointer that was followed is
 * read once more at the end: when one is another by then, the text may be of something else, and is read
 * anew or not given. What is read for one value, and how long its text gets (python/repr), is bounded.
 */
#ifndef ZOND_PYTHON_VALUE_H
#define ZOND_PYTHON_VALUE_H

#include "base/buf.h"
#include "python/type.h"

/* Characters or bytes shown of a str or bytes: as a value, and within another. */
#define PY_VALUE_TEXT 60
#define PY_VALUE_TEXT_INSIDE 24
/* Items shown of a container, and how deep those within each other are opened. */
#define PY_VALUE_ITEMS 5
#define PY_VALUE_DEPTH 2
/* Bytes of a value: each character may take four, and the length follows. */
#define PY_VALUE_BYTES 512

/* A reader of values, for one look. When rt's memory was read reads_end times there is no more to read:
 * values are then PY_VALUE_LEFT_OUT. */
struct py_values {
    struct py_runtime *rt;
    uint64_t reads_end;
    struct py_types types;
};

#define PY_VALUE_LEFT_OUT "…"
#define PY_VALUE_UNREADABLE "<unreadable>"
#define PY_VALUE_CHANGED "<changed while it was read>"

/* some_type: as of py_types_init. */
int py_values_init(struct py_values *v, struct py_runtime *rt, uint64_t some_type, uint64_t reads_end);

/* Appends the text of what the word at `slot` refers to, at most PY_VALUE_BYTES of UTF-8; or one of the three
 * above. tag_mask: as layout.frame.local_tag_mask, 0 elsewhere. cell: if it is a cell, its content is meant.
 * -ENOENT: nothing is there. -ESRCH: the process is gone. */
int py_value(struct py_values *v, uint64_t slot, uint32_t tag_mask, bool cell, struct buf *out);

#endif
