/* label: see label.h. */
#include "export/label.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd"

void label_of_spot(const struct paths *p, uint32_t spot, struct label *l)
{
    const struct path_spot *s = &p->spots[spot];
    *l = (struct label){.name = l->made, .file = "", .line = s->line};
    if (s->code == PATHS_NO_PYTHON) {
        strcpy(l->made, "(no Python)");
    } else if (s->code & PATHS_PROCESS) {
        uint32_t pid = rec_reader_process(p->reader, s->code & ~PATHS_PROCESS).pid;
        snprintf(l->made, sizeof(l->made), "process %" PRIu32, pid);
    } else {
        struct rec_code c = rec_reader_code(p->reader, s->code);
        l->name = rec_reader_string(p->reader, c.name, &l->name_len);
        l->file = rec_reader_string(p->reader, c.file, &l->file_len);
        return;
    }
    l->name_len = strlen(l->made);
}

struct thread_label label_of_thread(const struct paths *p, uint32_t thread)
{
    struct rec_thread t = rec_reader_thread(p->reader, thread);
    struct thread_label l = {.pid = rec_reader_process(p->reader, t.process).pid, .tid = t.tid};
    l.name = rec_reader_string(p->reader, t.name, &l.name_len);
    return l;
}

const char *label_of_metric(enum metric metric)
{
    static const char *const names[METRIC_COUNT] = {
        [METRIC_WALL] = "wall", [METRIC_CPU] = "cpu", [METRIC_GIL] = "gil", [METRIC_GC] = "gc"};
    return names[metric];
}

/* How many bytes from s on are UTF-8. */
static size_t valid_run(const char *s, size_t len)
{
    size_t i = 0;
    for (size_t used; i < len; i += used) {
        if (utf8_next(s + i, len - i, &used) == UTF8_INVALID)
            return i;
    }
    return i;
}

/* `run` cut so that it ends before a character with which it would be longer than `room`. */
static size_t cut_run(const char *s, size_t run, size_t room)
{
    if (run <= room)
        return run;
    while (room && ((unsigned char)s[room] & 0xc0) == 0x80)
        room--;
    return room;
}

void label_clean(struct buf *to, const char *s, size_t len)
{
    size_t room = STRTAB_MAX_LEN;
    for (size_t i = 0; i < len;) {
        size_t run = valid_run(s + i, len - i), kept = cut_run(s + i, run, room);
        buf_put(to, s + i, kept);
        room -= kept;
        i += run;
        if (kept < run || (i < len && room < sizeof(REPLACEMENT) - 1))
            return;
        if (i < len) {
            buf_put_str(to, REPLACEMENT);
            room -= sizeof(REPLACEMENT) - 1;
            i++;
        }
    }
}

/* ';' parts frames, and a line ends a stack in the collapsed format: neither may be in a frame. */
static void make_plain(struct buf *b, size_t from)
{
    for (size_t i = from; i < b->len; i++) {
        uint8_t c = b->data[i];
        b->data[i] = c == ';' ? ':' : c < 0x20 || c == 0x7f ? '?' : c;
    }
}

static int put_frame(struct label_frames *f, const struct paths *p, uint32_t spot)
{
    struct label l;
    size_t from = f->text.len;
    label_of_spot(p, spot, &l);
    label_clean(&f->text, l.name, l.name_len);
    if (l.file_len) {
        buf_put_str(&f->text, " (");
        label_clean(&f->text, l.file, l.file_len);
        if (l.line)
            buf_printf(&f->text, ":%" PRIu32, l.line);
        buf_put_str(&f->text, ")");
    }
    make_plain(&f->text, from);
    f->ends[spot] = f->text.len;
    return f->text.error;
}

int label_frames_init(struct label_frames *f, const struct paths *p)
{
    int rc = 0;
    buf_init(&f->text, SIZE_MAX / 2);
    f->ends = calloc((size_t)p->spot_count + 1, sizeof(*f->ends));
    for (uint32_t i = 0; f->ends && rc == 0 && i < p->spot_count; i++)
        rc = put_frame(f, p, i);
    return f->ends ? rc : -ENOMEM;
}

void label_frames_release(struct label_frames *f)
{
    buf_release(&f->text);
    free(f->ends);
    *f = (struct label_frames){0};
}

const char *label_frame(const struct label_frames *f, uint32_t spot, size_t *len)
{
    size_t start = spot ? f->ends[spot - 1] : 0;
    *len = f->ends[spot] - start;
    return (const char *)f->text.data + start;
}

int label_intern(struct strtab *t, struct buf *scratch, const char *s, size_t len, uint32_t *id)
{
    buf_clear(scratch);
    label_clean(scratch, s, len);
    return scratch->error ? scratch->error : strtab_intern(t, scratch->data, scratch->len, id);
}
