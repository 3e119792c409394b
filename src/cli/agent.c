/* agent: see agent.h. The library is found from where this program is, so that an installation can be moved.
 */
#include "cli/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "elf/elf_file.h"

#define LIBRARY "libzond-agent.so"
#define PRELOAD "LD_PRELOAD"

/* From the folder of the program: as installed, and as built. */
static const char *const places[] = {"../lib/zond/" LIBRARY, "../agent/" LIBRARY};

/* Libraries that the program asks for by name are in this section. */
#define NAMES ".dynstr"
#define NAMES_MAX (16u << 20)

static bool asks_for(struct elf_file *elf, const char *library)
{
    struct elf_section names;
    if (elf_file_section(elf, NAMES, &names) != 0 || names.size > NAMES_MAX)
        return false;
    char *text = malloc(names.size);
    bool found = text && elf_file_read(elf, names.address, text, names.size) == 0 &&
                 memmem(text, names.size, library, strlen(library));
    free(text);
    return found;
}

/* Opens the command as execvp would find it; -1: it does not. */
static int open_command(const char *command)
{
    const char *folders = getenv("PATH");
    char path[PATH_MAX];
    int fd = -1;
    if (strchr(command, '/'))
        return open(command, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (folders && fd < 0) {
        size_t len = strcspn(folders, ":");
        int n = snprintf(path, sizeof(path), "%.*s/%s", (int)len, folders, command);
        if (n < (int)sizeof(path) && access(path, X_OK) == 0)
            fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        folders = folders[len] ? folders + len + 1 : NULL;
    }
    return fd;
}

bool agent_is_refused(const char *command)
{
    struct elf_file *elf;
    int fd = open_command(command);
    bool refused = false;
    if (fd < 0)
        return false;
    if (elf_file_new(fd, &elf) == 0) {
        refused = asks_for(elf, "libasan.so");
        elf_file_free(elf);
    }
    close(fd);
    return refused;
}

static int find_library(char out[static PATH_MAX])
{
    char self[PATH_MAX], path[2 * PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        return -errno;
    self[n] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        snprintf(path, sizeof(path), "%s/%s", self, places[i]);
        if (realpath(path, out))
            return strpbrk(out, ": ") ? -EINVAL : 0;
    }
    return -ENOENT;
}

/* Do both words of an environment set the same variable? */
static bool same_variable(const char *a, const char *b)
{
    size_t n = strcspn(a, "=") + 1;
    return strncmp(a, b, n) == 0;
}

static int fill(char **env, const char *library, const char *feed)
{
    const char *before = getenv(PRELOAD);
    size_t n = 0;
    for (char **word = environ; *word; word++) {
        bool ours = same_variable(PRELOAD "=", *word) || same_variable(feed, *word);
        if (!ours && !(env[n++] = strdup(*word)))
            return -ENOMEM;
    }
    /* First, so that other allocators that are preloaded stand behind it. */
    if (asprintf(&env[n], PRELOAD "=%s%s%s", library, before && *before ? ":" : "", before ? before : "") <
        0) {
        env[n] = NULL;
        return -ENOMEM;
    }
    n++;
    env[n] = strdup(feed);
    return env[n] ? 0 : -ENOMEM;
}

int agent_environment(const char *feed, char ***env)
{
    char library[PATH_MAX];
    size_t count = 0;
    *env = NULL;
    int err = find_library(library);
    if (err)
        return err;
    while (environ[count])
        count++;
    char **words = calloc(count + 3, sizeof(char *));
    err = words ? fill(words, library, feed) : -ENOMEM;
    if (err) {
        agent_environment_free(words);
        return err;
    }
    *env = words;
    return 0;
}

void agent_environment_free(char **env)
{
    for (char **word = env; word && *word; word++)
        free(*word);
    free(env);
}
