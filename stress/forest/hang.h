/* SPDX-License-Identifier: MIT */
/* Whether a round gets on, as its board shows. One thread, of the process that watches. */
#ifndef REFSTORM_STRESS_FOREST_HANG_H
#define REFSTORM_STRESS_FOREST_HANG_H

#include <sys/types.h>

#include "stress/forest/board.h"

struct hang {
	uint64_t seen;
	uint64_t since_ns;
};

void hang_begin(struct hang *hang);

/* True if nothing has moved for so many seconds. */
bool hang_look(struct hang *hang, const struct board *board, double seconds);

/*
 * Makes each thread of the process write its stack to its standard error, and writes to `fd`, the same
 * file, what the kernel says of it; of one that does not answer that alone.
 */
void hang_describe(pid_t process, const struct board *board, int fd);

#endif /* REFSTORM_STRESS_FOREST_HANG_H */
