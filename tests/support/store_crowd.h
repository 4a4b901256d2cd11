/* SPDX-License-Identifier: MIT */
/* A record path under threads: eight append, one runs, one looks up. */
#ifndef REFSTORM_TEST_STORE_CROWD_H
#define REFSTORM_TEST_STORE_CROWD_H

#include "core/delayed/store.h"

/* What a test of stores is given. */
struct store_variant {
	const struct store_functions *functions;
	int (*create)(struct store **out);
	void (*merge)(struct store *store); /* before look-ups and counts; NULL: nothing to do */
	const char *window;                 /* while a head is in the runner's hands */
	bool exact;                         /* folds at once, so that what is pending can be told */
};

/*
 * All that was appended is run once, in heads that are well-formed, and up to their cuts; the
 * runner fails once in `error_one_in` heads, 0: never. Asserts.
 */
void store_crowd_run(const struct store_variant *variant, uint64_t seed, unsigned error_one_in);

#endif /* REFSTORM_TEST_STORE_CROWD_H */
