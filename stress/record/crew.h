/* SPDX-License-Identifier: MIT */
/* The threads that are no producers: how they are begun and ended. Callers: the driver. */
#ifndef REFSTORM_STRESS_RECORD_CREW_H
#define REFSTORM_STRESS_RECORD_CREW_H

#include "stress/record/stress.h"

/* What they do; each returns when the run is over for it. */
worker_fn runners_work; /* takes cuts, commits, waits for them, runs heads */
worker_fn mergers_work;
worker_fn viewers_work; /* holds views, and looks whether they hold */
worker_fn lookers_work;

/* 0 or a negative errno. */
int crew_start(struct stress *stress) __attribute__((warn_unused_result));
/* All have been told to end, and have, or are waited for. */
bool crew_is_done(const struct stress *stress);
void crew_join(struct stress *stress);
void crew_destroy(struct stress *stress);

/* Sleeps for up to `ms`, by chance. */
void crew_pause(struct worker *worker, uint64_t ms);

/* Commits, and keeps the cut; as rs_commit_cut. */
int crew_commit(struct stress *stress, uint64_t *cut) __attribute__((warn_unused_result));

#endif /* REFSTORM_STRESS_RECORD_CREW_H */
