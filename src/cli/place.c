/* place: see place.h.
 *
 * Two recordings in one file are none, so a file is locked as long as it is written. The lock belongs to the
 * open file (not to the process), can be asked for without being taken, and is gone however zond ends: by it
 * a recording that still grows is told from one that was cut.
 */
#include "cli/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SUFFIX ".zond"
/* In the name of a piece: when it began, in UTC, so that names sort as pieces follow each other. */
#define TIME_FORMAT "%Y%m%dT%H%M%SZ"
#define TIME_LEN 16
/* A name that is taken makes way for the next second's. */
#define NAME_TRIES 100

static bool is_dash(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

bool place_is_stdout(const struct options *o)
{
    struct stat to, out;
    if (is_dash(o->output))
        return true;
    if (!o->output || stat(o->output, &to) < 0 || fstat(STDOUT_FILENO, &out) < 0)
        return false;
    /* A device takes both and mixes nothing, unless it shows what it takes. */
    return to.st_dev == out.st_dev && to.st_ino == out.st_ino &&
           (!S_ISCHR(out.st_mode) || isatty(STDOUT_FILENO));
}

static bool is_no_file(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static bool rotates(const struct options *o)
{
    return o->rotate.ns || o->rotate.bytes;
}

int place_check(const struct options *o, bool reads_again)
{
    bool out = place_is_stdout(o);
    if (o->rotate_keep && !rotates(o))
        return usage_error(o->verb, "--rotate-keep needs --rotate");
    if (rotates(o) && (out || is_no_file(o->output)))
        return usage_error(o->verb, "--rotate makes files: %s is none", out ? "standard output" : o->output);
    if (rotates(o) && o->json)
        return usage_error(o->verb, "--json shows one recording, and --rotate makes several");
    if (reads_again && (out || is_no_file(o->output)))
        return usage_error(o->verb, "it reads the recording again, so that %s cannot take it; use 'zond run'",
                           out ? "standard output" : o->output);
    if (out && o->json)
        return usage_error(o->verb, "--json and the recording cannot both go to standard output");
    if (out && isatty(STDOUT_FILENO))
        return usage_error(o->verb,
                           "standard output is a terminal: send the recording into a file or a pipe");
    return 0;
}

/* Opens as the mask says, as a pipe opens only when someone reads it, and Ctrl-C must end that wait. */
static int open_as_it_is(struct place *p, const sigset_t *mask)
{
    sigset_t taken;
    sigprocmask(SIG_SETMASK, mask, &taken);
    int fd = open(p->path, O_WRONLY | O_CLOEXEC);
    p->made = fd < 0 && errno == ENOENT;
    if (p->made)
        fd = open(p->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    int err = errno;
    sigprocmask(SIG_SETMASK, &taken, NULL);
    errno = err;
    return fd;
}

static int cannot_write(const char *path, int err)
{
    fprintf(stderr, "zond: cannot write %s: %s; choose another place with -o FILE\n", path, strerror(err));
    return EXIT_ZOND;
}

/* False: somebody else has the lock. Where there are no locks, nobody has. */
static bool lock_if_file(struct place *p, int fd)
{
    struct stat st;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    p->regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    return !p->regular || fcntl(fd, F_OFD_SETLK, &whole) == 0 || (errno != EAGAIN && errno != EACCES);
}

bool place_is_growing(int fd)
{
    struct flock whole = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

/* Pieces ---------------------------------------------------------------------------------------------- */

static bool ends_in_suffix(const char *path)
{
    size_t len = strlen(path);
    return len > strlen(SUFFIX) && strcmp(path + len - strlen(SUFFIX), SUFFIX) == 0;
}

static int name_piece(struct place *p, time_t when)
{
    char time[TIME_LEN + 1] = "";
    struct tm tm;
    if (gmtime_r(&when, &tm))
        strftime(time, sizeof(time), TIME_FORMAT, &tm);
    int n = snprintf(p->path, sizeof(p->path), "%s.%s%s", p->stem, time, SUFFIX);
    return n < (int)sizeof(p->path) ? 0 : -ENAMETOOLONG;
}

/* -1 with errno when it cannot be made. Nothing that is there is overwritten. */
static int open_piece(struct place *p)
{
    time_t now = (time_t)(clock_wall_ns() / NS_PER_S);
    int fd = -1;
    errno = EEXIST;
    for (int i = 0; i < NAME_TRIES && fd < 0 && errno == EEXIST; i++) {
        int err = name_piece(p, now + i);
        if (err) {
            errno = -err;
            return -1;
        }
        fd = open(p->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    if (fd >= 0)
        p->made = true;
    return fd;
}

static int open_first_piece(struct place *p)
{
    if (ends_in_suffix(p->path))
        p->path[strlen(p->path) - strlen(SUFFIX)] = 0;
    snprintf(p->stem, sizeof(p->stem), "%s", p->path);
    int fd = open_piece(p);
    p->began_ns = clock_ns();
    p->pieces = 1;
    return fd;
}

bool place_is_due(const struct place *p, uint64_t now_ns, size_t written)
{
    const struct rotation *r = &p->o->rotate;
    return p->pieces && ((r->ns && now_ns - p->began_ns >= r->ns) || (r->bytes && written >= r->bytes));
}

/* Is `name` that of a piece of `base`? */
static bool is_piece(const char *name, const char *base)
{
    static const char digits[] = "0123456789";
    size_t len = strlen(base);
    if (strncmp(name, base, len) != 0 || name[len] != '.')
        return false;
    const char *time = name + len + 1;
    return strspn(time, digits) == 8 && time[8] == 'T' && strspn(time + 9, digits) == 6 &&
           time[TIME_LEN - 1] == 'Z' && strcmp(time + TIME_LEN, SUFFIX) == 0;
}

/* Removes the oldest pieces, also of earlier runs, beyond so many. */
static void keep_newest(const struct place *p, size_t count)
{
    char folder_copy[PATH_MAX], base_copy[PATH_MAX], path_copy[PATH_MAX];
    struct dirent **names;
    memcpy(folder_copy, p->stem, sizeof(folder_copy));
    memcpy(base_copy, p->stem, sizeof(base_copy));
    memcpy(path_copy, p->path, sizeof(path_copy));
    const char *base = basename(base_copy), *present = basename(path_copy);
    int folder = open(dirname(folder_copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int n = folder < 0 ? -1 : scandirat(folder, ".", &names, NULL, alphasort);
    size_t seen = 0;
    for (int i = n; i-- > 0;) {
        if (is_piece(names[i]->d_name, base) && ++seen > count && strcmp(names[i]->d_name, present) != 0)
            unlinkat(folder, names[i]->d_name, 0);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    if (folder >= 0)
        close(folder);
}

bool place_next(struct place *p, uint64_t now_ns, int *fd)
{
    char before[PATH_MAX];
    memcpy(before, p->path, sizeof(before));
    *fd = open_piece(p);
    if (*fd < 0) {
        if (!p->told)
            fprintf(stderr, "zond: cannot begin another piece, and goes on in %s: %s: %s\n", before, p->path,
                    strerror(errno));
        p->told = true;
        memcpy(p->path, before, sizeof(before));
        return false;
    }
    lock_if_file(p, *fd);
    p->began_ns = now_ns;
    p->pieces++;
    if (p->o->rotate_keep)
        keep_newest(p, (size_t)p->o->rotate_keep);
    return true;
}

/* Life ------------------------------------------------------------------------------------------------ */

int place_open(struct place *p, const struct options *o, const char *name, const sigset_t *mask, int *fd)
{
    *p = (struct place){.o = o};
    int n = snprintf(p->path, sizeof(p->path), "%s", o->output ? o->output : name);
    if (n >= (int)sizeof(p->path))
        return cannot_write(o->output, ENAMETOOLONG);
    if (is_dash(p->path))
        *fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    else if (rotates(o))
        *fd = open_first_piece(p);
    else
        *fd = open_as_it_is(p, mask);
    if (*fd < 0)
        return cannot_write(p->path, errno);
    if (!lock_if_file(p, *fd)) {
        close(*fd);
        fprintf(stderr, "zond: another zond is writing %s; choose another name with -o FILE\n", p->path);
        return EXIT_ZOND;
    }
    if (p->pieces && o->rotate_keep)
        keep_newest(p, (size_t)o->rotate_keep);
    return 0;
}

int place_clear(const struct place *p, int fd)
{
    return !p->regular || is_dash(p->path) || ftruncate(fd, 0) == 0 ? 0 : -errno;
}

void place_drop(const struct place *p, int fd)
{
    close(fd);
    if (p->made)
        unlink(p->path);
}

bool place_is_readable(const struct place *p)
{
    return p->regular && p->pieces < 2 && !place_is_stdout(p->o);
}

void place_say(const struct place *p)
{
    if (is_dash(p->path))
        fputs("zond: recorded to standard output\n", stderr);
    else if (p->pieces > 1)
        fprintf(stderr, "zond: recorded in %u pieces, the last in %s\n", p->pieces, p->path);
    else
        fprintf(stderr, "zond: recorded in %s\n", p->path);
}
