/* SPDX-License-Identifier: MIT */
/*
 * Stacks of threads, on standard error: each thread's own on demand from another process, and that of a
 * thread that dies by a signal, unless a sanitizer has its own for that.
 */
#ifndef REFSTORM_STRESS_FOREST_STACKS_H
#define REFSTORM_STRESS_FOREST_STACKS_H

#include <signal.h>

#include "stress/forest/board.h"

#define STACKS_SIGNAL SIGUSR2

/* By the only thread, before others begin; the board outlives them. */
void stacks_install(struct board *board);

/* By each thread that has a seat: it is told with its stack. NULL: no more. */
void stacks_seat(const struct board_seat *seat);

#endif /* REFSTORM_STRESS_FOREST_STACKS_H */
