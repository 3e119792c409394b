/* stack_history: see stack_history.h. Each look is a recording of its own, so frames are compared by what
 * they say. */
#include "report/stack_history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/strtab.h"

/* frames: what they say, innermost first, as ids of texts. */
struct known_stack {
    uint32_t pid, tid;
    uint32_t *frames;
    size_t count;
    bool seen; /* in this look */
    bool seen_before;
};

struct stack_history {
    struct strtab texts;
    struct known_stack *list;
    size_t count, cap;
    size_t next; /* behind what was found last: looks are in the same order */
};

struct stack_history *stack_history_new(void)
{
    struct stack_history *h = calloc(1, sizeof(*h));
    if (h && strtab_init(&h->texts) != 0) {
        stack_history_free(h);
        return NULL;
    }
    return h;
}

void stack_history_free(struct stack_history *h)
{
    for (size_t i = 0; h && i < h->count; i++)
        free(h->list[i].frames);
    if (!h)
        return;
    strtab_release(&h->texts);
    free(h->list);
    free(h);
}

/* What a frame says, as an id. */
static int id_of(struct stack_history *h, const struct rec_reader *r, uint32_t frame_id, uint32_t *id)
{
    struct rec_frame frame = rec_reader_frame(r, frame_id);
    struct rec_code code = rec_reader_code(r, frame.code);
    size_t name_len, file_len;
    const char *name = rec_reader_string(r, code.name, &name_len);
    const char *file = rec_reader_string(r, code.file, &file_len);
    struct buf text;
    buf_init(&text, 3 * STRTAB_MAX_LEN);
    buf_put(&text, &frame.line, sizeof(frame.line));
    buf_put_u8(&text, code.kind);
    buf_put(&text, name, name_len + 1);
    buf_put(&text, file, file_len);
    int err = text.error ? text.error : strtab_intern(&h->texts, text.data, text.len, id);
    buf_release(&text);
    return err;
}

static int read_stack(struct stack_history *h, const struct rec_reader *r, uint32_t node, uint32_t **out,
                      size_t *count)
{
    size_t cap = 0;
    int err = 0;
    *out = NULL;
    *count = 0;
    for (; !err && node != REC_NO_STACK; node = rec_reader_node(r, node).parent) {
        uint32_t *frames = list_room(*out, &cap, *count, sizeof(*frames));
        if (!frames)
            err = -ENOMEM;
        else
            err = id_of(h, r, rec_reader_node(r, node).frame, &(*out = frames)[(*count)++]);
    }
    return err;
}

static struct known_stack *find(struct stack_history *h, uint32_t pid, uint32_t tid)
{
    for (size_t n = 0; n < h->count; n++) {
        size_t i = (h->next + n) % h->count;
        if (h->list[i].pid == pid && h->list[i].tid == tid) {
            h->next = i + 1;
            return &h->list[i];
        }
    }
    struct known_stack *list = list_room(h->list, &h->cap, h->count, sizeof(*list));
    if (!list)
        return NULL;
    h->list = list;
    list[h->count] = (struct known_stack){.pid = pid, .tid = tid};
    return &list[h->count++];
}

int stack_history_take(struct stack_history *h, const struct rec_reader *r, const struct rec_sample *s,
                       struct stack_change *out)
{
    struct rec_thread thread = rec_reader_thread(r, s->thread);
    struct known_stack *known = find(h, rec_reader_process(r, thread.process).pid, thread.tid);
    uint32_t *frames = NULL;
    size_t count = 0;
    int err = known ? read_stack(h, r, s->stack, &frames, &count) : -ENOMEM;
    if (err) {
        free(frames);
        return err;
    }
    *out = (struct stack_change){.known = known->seen_before};
    while (out->common < count && out->common < known->count &&
           frames[count - 1 - out->common] == known->frames[known->count - 1 - out->common])
        out->common++;
    out->same = out->known && out->common == count && count == known->count;
    free(known->frames);
    known->frames = frames;
    known->count = count;
    known->seen = known->seen_before = true;
    return 0;
}

size_t stack_history_end(struct stack_history *h)
{
    size_t kept = 0, before = h->count;
    for (size_t i = 0; i < before; i++) {
        struct known_stack known = h->list[i];
        if (!known.seen) {
            free(known.frames);
            continue;
        }
        known.seen = false;
        h->list[kept++] = known;
    }
    h->count = kept;
    h->next = 0;
    return before - kept;
}
