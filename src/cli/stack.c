/* zond stack: one look at every thread of a process, Python and native frames together.
 *
 * The look is a recording like any other, of one tick, in a file without a name.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/record.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "report/stack.h"

static int show(const struct options *o, int fd)
{
    struct rec_reader *r = NULL;
    char here[PATH_MAX];
    struct report_style style;
    int rc = lseek(fd, 0, SEEK_SET) < 0 ? -errno : rec_reader_new(fd, &r);
    report_style_init(&style, stdout, (enum report_color)o->color, o->width);
    style.here = getcwd(here, sizeof(here));
    if (!rc)
        rc = o->json ? report_stack_json(stdout, r, &style) : report_stack(stdout, r, &style);
    rec_reader_free(r);
    if (rc)
        fprintf(stderr, "zond stack: cannot show it: %s\n", strerror(-rc));
    return rc ? EXIT_ZOND : 0;
}

int verb_stack(const struct options *o)
{
    pid_t pid;
    int status = options_pid(o, &pid);
    if (status)
        return status;
    int fd = memfd_create("zond stack", MFD_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "zond stack: no memory for it: %s\n", strerror(errno));
        return EXIT_ZOND;
    }
    status = record_look(o, pid, fd);
    if (!status)
        status = show(o, fd);
    close(fd);
    return status;
}
