/* What profile.c shares with the files that make one table each. Private to src/analysis. */
#ifndef ZOND_ANALYSIS_VIEWS_H
#define ZOND_ANALYSIS_VIEWS_H

#include "analysis/collections.h"
#include "analysis/fold.h"
#include "analysis/memory.h"

struct profile {
    struct rec_reader *reader;
    struct profile_filter filter;
    struct fold fold;
    struct memory_use memory;
    struct collections_use collections;
    uint32_t epoch;   /* of the recording, from 1 */
    uint64_t last_ns; /* the end of the latest event */
    uint64_t losses[REC_LOSS_KINDS];
    struct rec_stats stats;
    struct histogram pauses;
    struct buf details;   /* uint32_t: string ids */
    struct buf threads;   /* struct profile_thread, by the reader's index; later only those that were taken */
    struct buf processes; /* struct profile_process, likewise */
    struct profile_function *functions;
    struct profile_line *lines;
};

#endif
