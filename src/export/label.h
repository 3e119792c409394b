/* label: what a spot, a thread and a process are called, for all formats alike; and text of the target made
 * fit for formats that hold only UTF-8.
 */
#ifndef ZOND_EXPORT_LABEL_H
#define ZOND_EXPORT_LABEL_H

#include "base/buf.h"
#include "base/strtab.h"
#include "export/paths.h"

/* Bytes as the target has them; `made` holds a name that is not of the recording. Valid as long as both the
 * reader and the label are. file_len 0: no file. line 0: unknown. */
struct label {
    const char *name;
    size_t name_len;
    const char *file;
    size_t file_len;
    uint32_t line;
    char made[32];
};

void label_of_spot(const struct paths *p, uint32_t spot, struct label *l);

/* What a row of a thread says beside its stacks. Strings as in a label; valid as long as the reader is. */
struct thread_label {
    uint32_t pid;
    uint32_t tid;
    const char *name;
    size_t name_len;
};
struct thread_label label_of_thread(const struct paths *p, uint32_t thread);

/* The words of --metric, as names of what is counted. */
const char *label_of_metric(enum metric metric);

/* Appends the bytes as UTF-8: each byte that is none becomes U+FFFD. Ends before a character with which it
 * would be longer than STRTAB_MAX_LEN bytes. */
void label_clean(struct buf *to, const char *s, size_t len);
/* The same, interned. `scratch` is emptied first. 0 or -ENOMEM. */
int label_intern(struct strtab *t, struct buf *scratch, const char *s, size_t len, uint32_t *id);

/* The frames of the collapsed format, "name (file:line)", made once for each spot: a stack is written many
 * times. No frame has a ';' (it becomes ':') nor a control character ('?'). Zeroed, it can be released. */
struct label_frames {
    struct buf text;
    size_t *ends; /* in text, by spot */
};
int label_frames_init(struct label_frames *f, const struct paths *p);
void label_frames_release(struct label_frames *f);
const char *label_frame(const struct label_frames *f, uint32_t spot, size_t *len);

#endif
