/* sums: see sums.h. */
#include "export/sums.h"

#include <errno.h>
#include <stdlib.h>

int sums_init(struct sums *s, const struct paths *p)
{
    *s = (struct sums){
        .of_path = calloc(p->count, sizeof(*s->of_path)),
        .touched = calloc(p->count, sizeof(*s->touched)),
    };
    return s->of_path && s->touched ? 0 : -ENOMEM;
}

void sums_release(struct sums *s)
{
    free(s->of_path);
    free(s->touched);
    *s = (struct sums){0};
}

void sums_of_thread(struct sums *s, const struct paths *p, uint32_t thread)
{
    struct cursor c = paths_start(p, thread);
    struct path_sample sample = {0};
    for (uint32_t i = 0; i < s->count; i++)
        s->of_path[s->touched[i]] = (struct sum){0};
    s->count = 0;
    while (paths_next(&c, &sample)) {
        struct sum *sum = &s->of_path[sample.path];
        if (!sum->weight)
            s->touched[s->count++] = sample.path;
        sum->weight += sample.weight;
        sum->looks += sample.looks;
    }
}
