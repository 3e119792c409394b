/* files: which source file of one recording is which of another. Private to src/analysis. */
#ifndef ZOND_ANALYSIS_FILES_H
#define ZOND_ANALYSIS_FILES_H

#include "analysis/profile.h"
#include "base/strtab.h"

/* names: what the two recordings have in common to call a file by; of_file[side][string] is the id of the
 * name in it, 0 for a string that is no file of a function, and for functions without a file. */
struct files {
    struct strtab names;
    uint32_t *of_file[2];
};

/* 0 or -ENOMEM; release also after a failure. */
int files_init(struct files *f, struct profile *const profiles[2]);
void files_release(struct files *f);

#endif
