/* rank: see rank.h. The variables of the launchers in use; the specific ones first, as a launcher inside of
 * another one (torchrun in a Slurm step) knows better.
 */
#include "os/rank.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"

/* An environment longer than this is not looked through to its end. */
#define ENVIRON_MAX (4u << 20)

static const char *const variables[] = {
    "OMPI_COMM_WORLD_RANK", /* Open MPI */
    "PMIX_RANK",            /* PRRTE, Open MPI 5 */
    "MV2_COMM_WORLD_RANK",  /* MVAPICH */
    "PALS_RANKID",          /* HPE Cray */
    "ALPS_APP_PE",          /* Cray ALPS */
    "JSM_NAMESPACE_RANK",   /* IBM jsrun */
    "PMI_RANK",             /* MPICH, Intel MPI */
    "RANK",                 /* torchrun, accelerate */
    "SLURM_PROCID",         /* srun */
};

static uint32_t parse(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && n < RANK_NONE ? (uint32_t)n : RANK_NONE;
}

/* The value of a variable among NAME=VALUE, each ended by a NUL, or NULL. */
static const char *find(const char *all, size_t len, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = all; at < all + len; at += strlen(at) + 1) {
        if (strncmp(at, name, n) == 0 && at[n] == '=')
            return at + n + 1;
    }
    return NULL;
}

static void read_environ(pid_t pid, struct buf *out)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 1;
    while (fd >= 0 && got > 0) {
        uint8_t *to = buf_reserve(out, 4096);
        got = to ? read(fd, to, 4096) : 0;
        out->len += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0)
        close(fd);
    buf_put_u8(out, 0);
}

uint32_t rank_of(pid_t pid)
{
    struct buf all;
    uint32_t rank = RANK_NONE;
    buf_init(&all, ENVIRON_MAX);
    if (pid)
        read_environ(pid, &all);
    for (size_t i = 0; i < ARRAY_LEN(variables) && rank == RANK_NONE; i++) {
        const char *value =
            pid ? find((const char *)all.data, all.error ? 0 : all.len, variables[i]) : getenv(variables[i]);
        rank = value ? parse(value) : RANK_NONE;
    }
    buf_release(&all);
    return rank;
}
