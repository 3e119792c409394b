/* label: see label.h. */
#include "export/label.h"

#include <inttypes.h>
#include <stdio.h>
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

void label_clean(struct buf *to, const char *s, size_t len)
{
    size_t end = to->len + STRTAB_MAX_LEN;
    for (size_t i = 0, used; i < len; i += used) {
        bool valid = utf8_next(s + i, len - i, &used) != UTF8_INVALID;
        size_t n = valid ? used : sizeof(REPLACEMENT) - 1;
        if (to->len + n > end)
            return;
        buf_put(to, valid ? s + i : REPLACEMENT, n);
    }
}

int label_intern(struct strtab *t, struct buf *scratch, const char *s, size_t len, uint32_t *id)
{
    buf_clear(scratch);
    label_clean(scratch, s, len);
    return scratch->error ? scratch->error : strtab_intern(t, scratch->data, scratch->len, id);
}
