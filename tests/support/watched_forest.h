/* SPDX-License-Identifier: MIT */
/* One forest that all oracles watch from its beginning, and the writer of the test's thread. */
#ifndef REFSTORM_TEST_WATCHED_FOREST_H
#define REFSTORM_TEST_WATCHED_FOREST_H

#include "tests/support/forest_crowd.h"

#define BLOCK 4096U

extern struct forest_crowd crowd;
extern struct rs_forest *forest;
extern struct rs_writer *writer;

/* `node_bytes` 0: the default. */
void forest_begin(uint32_t node_bytes, bool no_drop_thread);
/* And checks it. */
void forest_end(void);

/* Blocks [first, first + count) of the file, which is made, each written by itself. */
void file_write(struct rs_subvol *subvol, const char *name, unsigned first, unsigned count);

#endif /* REFSTORM_TEST_WATCHED_FOREST_H */
