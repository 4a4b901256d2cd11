/* SPDX-License-Identifier: MIT */
/*
 * Planted bugs, which show that a check can fail, and labelled windows, named
 * points where a test stalls or stops a thread.
 *
 * A plant is a branch in the code under `if (plant_armed("place.bug"))`, a window
 * a line `window_pass("place.moment");`. Both are listed in the table of plant.c.
 * Plants are compiled under RS_PLANTS and windows under RS_WINDOWS; elsewhere
 * they are a constant false and nothing.
 *
 * The environment arms them, and is read once: REFSTORM_PLANT=name one plant,
 * REFSTORM_WINDOW=name:stall_us a stall of so many microseconds at each pass. The
 * file REFSTORM_PLANT_REACHED, if there is one, gets a byte once the plant is reached.
 *
 * Callers: any thread, inside RCU sections and under locks too. window_pass
 * blocks for as long as the hook or the stall does.
 */
#ifndef REFSTORM_BASE_PLANT_H
#define REFSTORM_BASE_PLANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refstorm/error.h"

enum plant_kind {
	PLANT_BUG,
	PLANT_WINDOW,
};

struct plant {
	enum plant_kind kind;
	const char *name;
	const char *file;
	const char *effect;    /* a bug: what it breaks; a window: what lies open there */
	const char *caught_by; /* the check that must catch it; NULL for a window */
};

/* All plants and windows of the library; *count gets how many. In every build. */
const struct plant *plant_table(size_t *count);

/*
 * Checks the two variables of the environment, so that a run that arms nothing is
 * an error and not a pass: -EINVAL for a name that is not in the table, a stall
 * that is no number, or anything that this build has not compiled in.
 */
int plant_environment_check(struct rs_error *error) __attribute__((warn_unused_result));

#ifdef RS_PLANTS
bool plant_armed(const char *name);

/* How often plant_armed was true: 0 at the end means that the armed plant was never reached. */
uint64_t plant_reached_count(void);
#else
static inline bool plant_armed(const char *name)
{
	(void)name;
	return false;
}

static inline uint64_t plant_reached_count(void)
{
	return 0;
}
#endif

typedef void window_fn(const char *name, void *argument);

#ifdef RS_WINDOWS
void window_pass(const char *name);

/*
 * `fn` is called at each pass of any window, until it is replaced by NULL; a call
 * may still be running then. Another hook may be set once the threads that could
 * be in a window have been joined.
 */
void window_hook_set(window_fn *fn, void *argument);
#else
static inline void window_pass(const char *name)
{
	(void)name;
}

static inline void window_hook_set(window_fn *fn, void *argument)
{
	(void)fn;
	(void)argument;
}
#endif

#endif /* REFSTORM_BASE_PLANT_H */
