/* merge: many recordings into one, block by block. What is in the blocks stays as it is, compressed: a merge
 * costs a read, a checksum and a write of each byte, and memory for one block.
 *
 * An input that is cut or damaged is taken up to there.
 */
#ifndef ZOND_RECORD_MERGE_H
#define ZOND_RECORD_MERGE_H

#include "record/model.h"

/* One file to merge; path is the caller's. After the merge: error is a negative errno as of rec_reader_new
 * when nothing could be taken of it; else stop tells how far it was taken, offset where its first bad block
 * is. */
struct merge_input {
    const char *path;
    int error;
    enum rec_break stop;
    uint64_t offset;
};

struct merge;

/* Reads the headers of all inputs and decides about the common clock: it begins with the earliest. inputs
 * stay the caller's and outlive the merge. zond: the version that merges. 0 also when inputs cannot be read:
 * see their errors. -ENODATA: not one of them can be. */
int merge_new(struct merge_input *inputs, size_t count, const char *zond, struct merge **out);
void merge_free(struct merge *m);

/* Writes all of them to fd, which stays the caller's and may be a pipe. 0, or the negative errno that stopped
 * the writing: what is whole by then can be read. */
int merge_write(struct merge *m, int fd);

/* After merge_write: what the end of the merged recording says. */
const struct rec_merged *merge_result(const struct merge *m);

#endif
