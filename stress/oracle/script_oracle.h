/* SPDX-License-Identifier: MIT */
/*
 * The oracles behind `check` in a script: every change of a reference is checked as it happens, and
 * a check counts all trees again. One thread, but for the observer. What the observer allocates
 * is not counted among the allocations that are made to fail (core/base/alloc.h).
 * It knows nothing of scripts themselves.
 */
#ifndef REFSTORM_ORACLE_SCRIPT_ORACLE_H
#define REFSTORM_ORACLE_SCRIPT_ORACLE_H

#include <stdbool.h>

#include "refstorm/forest.h"

struct recount;
struct script_oracle;

/* All by who checks; each may be NULL. */
struct script_oracle_options {
	/* Each thing that is wrong, without a newline at its end. */
	void (*finding)(void *argument, const char *text);
	/* Besides, of the first extent that something is wrong with: what refverify knows of it. */
	void (*history)(void *argument, const char *text);
	/* What a check has counted, with holdings, where nothing is wrong. */
	void (*counted)(void *argument, const struct recount *recount);
	void *argument;
};

/* Without options nothing is watched, and nothing can be checked. 0 or -ENOMEM. */
int script_oracle_create(const struct script_oracle_options *options, struct script_oracle **out,
			 struct rs_error *error) __attribute__((warn_unused_result));
/* After the forest. NULL is allowed. */
void script_oracle_destroy(struct script_oracle *oracle);

/* Of the forest; NULL where nothing is watched. */
const struct rs_observer *script_oracle_observer(const struct script_oracle *oracle);

/*
 * Before the script begins. What a forest has that was `opened` from an image is made known: nothing
 * has changed it yet; an empty one tells by itself what it is made of. 0, -ENOMEM, -EUCLEAN.
 */
int script_oracle_begin(struct script_oracle *oracle, struct rs_forest *forest, bool opened,
			struct rs_error *error) __attribute__((warn_unused_result));

/*
 * Waits until deleted trees are taken apart, commits, and checks everything, while nobody else
 * uses the forest: script_run_options.check, the oracle its argument. 0, or what is wrong.
 */
int script_oracle_check(void *oracle, struct rs_error *error) __attribute__((warn_unused_result));

/*
 * The same of what is committed alone, in a forest that was aborted: trees are whole, and no
 * reference was changed that was not there. 0, or what is wrong.
 */
int script_oracle_check_committed(struct script_oracle *oracle, struct rs_error *error)
	__attribute__((warn_unused_result));

/* What was checked since the beginning. */
struct script_oracle_counts {
	uint64_t recounts; /* of all trees */
	uint64_t groups; /* whose numbers were compared: none where quotas are off, or to be counted again */
	uint64_t references; /* times that all references were compared with the index */
	uint64_t actions;    /* changes of references, as they happened */
};
void script_oracle_counts_read(const struct script_oracle *oracle,
			       struct script_oracle_counts *counts);

#endif /* REFSTORM_ORACLE_SCRIPT_ORACLE_H */
