/* source: see source.h. */
#include "report/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The whole of fd, of which `size` bytes are expected; *size is what there was. */
static char *read_all(int fd, size_t *size)
{
    char *text = malloc(*size + 1);
    size_t len = 0;
    while (text && len < *size) {
        ssize_t n = read(fd, text + len, *size - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    *size = len;
    return text;
}

static int index_lines(struct source *s, size_t size)
{
    size_t lines = size > 0;
    for (size_t i = 0; i + 1 < size; i++)
        lines += s->text[i] == '\n';
    s->starts = calloc(lines + 1, sizeof(*s->starts));
    if (!s->starts)
        return -ENOMEM;
    for (size_t i = 0; i + 1 < size; i++) {
        if (s->text[i] == '\n')
            s->starts[++s->count] = i + 1;
    }
    s->count = lines;
    s->starts[lines] = size;
    return 0;
}

static int load(struct source *s, int fd)
{
    struct stat st;
    if (fstat(fd, &st))
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size > SOURCE_MAX)
        return -EINVAL;
    size_t size = (size_t)st.st_size;
    s->changed_ns = (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
    s->text = read_all(fd, &size);
    return s->text ? index_lines(s, size) : -ENOMEM;
}

int source_open(struct source *s, const char *path)
{
    *s = (struct source){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    int rc = load(s, fd);
    close(fd);
    return rc;
}

void source_release(struct source *s)
{
    free(s->text);
    free(s->starts);
    *s = (struct source){0};
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

const char *source_line(const struct source *s, uint32_t line, size_t *len)
{
    if (!line || line > s->count)
        return NULL;
    const char *text = s->text + s->starts[line - 1];
    *len = s->starts[line] - s->starts[line - 1];
    while (*len && is_blank(text[*len - 1]))
        --*len;
    return text;
}
