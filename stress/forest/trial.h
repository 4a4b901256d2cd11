/* SPDX-License-Identifier: MIT */
/* A round in a child process: begins it, watches it, and says what it came to. One thread. */
#ifndef REFSTORM_STRESS_FOREST_TRIAL_H
#define REFSTORM_STRESS_FOREST_TRIAL_H

#include <sys/types.h>

#include "stress/forest/board.h"
#include "stress/forest/plan.h"

struct trial {
	const struct plan *plan;
	const struct campaign_options *options;
	struct board *board;
	pid_t process;
	int script_fd; /* the script, as the process has made it */
	int errors_fd; /* its standard output and standard error */
	int status;    /* as wait has it; when it has ended */
	enum campaign_verdict verdict;
	char why[CAMPAIGN_WHY_BYTES];
};

/* 0 or a negative errno. On success trial_end is to be called. */
int trial_begin(struct trial *trial, const struct plan *plan,
		const struct campaign_options *options, struct board *board, struct rs_error *error)
	__attribute__((warn_unused_result));
/* Blocks until it has ended, or hangs, or is interrupted, and then has been killed. `tick` is called meanwhile. */
void trial_wait(struct trial *trial, void (*tick)(void *argument), void *argument);
void trial_end(struct trial *trial);

/* All that is in the file, with a 0 behind it, to be freed with alloc_free; NULL: no memory. */
char *trial_read(int fd, size_t *bytes);

#endif /* REFSTORM_STRESS_FOREST_TRIAL_H */
