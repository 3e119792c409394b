/* jitted: see jitted.h. */
#include "sample/jitted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A module that is looked for: paths relative to a directory, and the last directory that was tried. */
struct search {
    const struct source *source;
    char as_file[PROC_PATH_MAX / 2], as_package[PROC_PATH_MAX / 2];
    char tried[PROC_PATH_MAX / 2];
    struct jitted_place *out;
};

static bool try_path(struct search *s, size_t dir_len, const char *dir, const char *relative)
{
    int n = snprintf(s->out->file, sizeof(s->out->file), "%.*s/%s", (int)dir_len, dir, relative);
    int fd = n > 0 && (size_t)n < sizeof(s->out->file) ? source_open_file(s->source, s->out->file) : -1;
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool try_directory(struct search *s, const char *dir, size_t len)
{
    if (len == 0 || len >= sizeof(s->tried) || (strlen(s->tried) == len && memcmp(s->tried, dir, len) == 0))
        return false;
    memcpy(s->tried, dir, len);
    s->tried[len] = 0;
    return try_path(s, len, dir, s->as_file) || try_path(s, len, dir, s->as_package);
}

/* Extension modules lie where packages are installed, or below. */
static int try_mapping(void *ctx, const struct proc_map *map)
{
    static const char *const parts[] = {"/site-packages", "/dist-packages", "/lib-dynload"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const char *part = strstr(map->path, parts[i]);
        size_t len = part ? (size_t)(part - map->path) : 0;
        /* What is beside lib-dynload is the standard library. */
        if (part && try_directory(ctx, map->path, i == 2 ? len : len + strlen(parts[i])))
            return 1;
    }
    return 0;
}

static bool find_module(struct search *s, const char *main_file, const char *module)
{
    char cwd[PROC_PATH_MAX / 2];
    snprintf(s->as_file, sizeof(s->as_file), "%s", module);
    for (char *c = s->as_file; *c; c++)
        *c = *c == '.' ? '/' : *c;
    snprintf(s->as_package, sizeof(s->as_package), "%.*s/__init__.py", 1024, s->as_file);
    strncat(s->as_file, ".py", sizeof(s->as_file) - strlen(s->as_file) - 1);
    const char *slash = strrchr(main_file, '/');
    if (slash && try_directory(s, main_file, (size_t)(slash - main_file)))
        return true;
    if (source_cwd(s->source, cwd, sizeof(cwd)) == 0 && try_directory(s, cwd, strlen(cwd)))
        return true;
    return source_maps(s->source, try_mapping, s) == 1;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

static const char *skip_word(const char *at, const char *end, const char *word)
{
    size_t len = strlen(word);
    return (size_t)(end - at) > len && memcmp(at, word, len) == 0 ? at + len : NULL;
}

static bool defines(const char *line, const char *end, const char *function)
{
    const char *at = skip_word(skip_blanks(line, end), end, "def ");
    const char *name = at ? skip_word(skip_blanks(at, end), end, function) : NULL;
    name = name ? skip_blanks(name, end) : NULL;
    return name && name < end && (*name == '(' || *name == '[');
}

/* The line of the only definition, or of the first of the decorators above it. */
static uint32_t find_definition(const char *text, size_t len, const char *function)
{
    uint32_t number = 1, decorator = 0, found = 0;
    for (const char *line = text, *end = text + len; line < end; number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line)), *stop = newline ? newline : end;
        const char *first = skip_blanks(line, stop);
        if (first < stop && *first == '@') {
            decorator = decorator ? decorator : number;
        } else {
            if (defines(line, stop, function)) {
                if (found)
                    return 0;
                found = decorator ? decorator : number;
            }
            decorator = 0;
        }
        line = newline ? newline + 1 : end;
    }
    return found;
}

static uint32_t line_in_file(const struct source *source, const char *file, const char *function)
{
    int fd = source_open_file(source, file);
    char *text = fd < 0 ? NULL : malloc(JITTED_SOURCE_MAX);
    ssize_t len = text ? read(fd, text, JITTED_SOURCE_MAX) : -1;
    uint32_t line =
        len > 0 && len < (ssize_t)JITTED_SOURCE_MAX ? find_definition(text, (size_t)len, function) : 0;
    free(text);
    if (fd >= 0)
        close(fd);
    return line;
}

bool jitted_find(const struct source *source, const char *main_file, const char *module, const char *function,
                 struct jitted_place *out)
{
    struct search search = {.source = source, .out = out};
    const char *dot = strrchr(function, '.');
    *out = (struct jitted_place){0};
    if (strcmp(module, "__main__") == 0)
        snprintf(out->file, sizeof(out->file), "%s", main_file);
    else if (!find_module(&search, main_file, module))
        out->file[0] = 0;
    if (out->file[0] == '/')
        out->line = line_in_file(source, out->file, dot ? dot + 1 : function);
    return out->file[0];
}
