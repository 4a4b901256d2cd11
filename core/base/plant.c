/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/base/plant.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/error.h"
#include "core/base/order.h"

static const struct plant plant_all[] = {
	{ PLANT_BUG, "rcu.early-free", "core/base/rcu.c",
	  "deferred calls run at once, under readers that still look at the object",
	  "rcu_test (poison seen; a race or a use after free under the sanitizers)" },
	{ PLANT_BUG, "idtable.no-second-look", "core/base/idtable.c",
	  "insertion does not look for the key again under the lock: two ids for one key",
	  "idtable_test (a key that is there gets another id)" },
	{ PLANT_BUG, "idtable.entry-relaxed", "core/base/idtable.c",
	  "an entry is stored relaxed: a record may be seen before its contents",
	  "idtable_test (tsan only: the code on x86 is the same; a race on the record)" },
	{ PLANT_BUG, "runs.unlocked-list", "core/qgroup/runs.c",
	  "a list of runs is changed by several threads at once",
	  "runs_test (runs lost; memory freed twice or used after)" },
	{ PLANT_BUG, "backref.no-implied", "stress/oracle/backref.c",
	  "what trees imply is not laid against what the extent tree has",
	  "backref_planted_test (not tsan; an extent whose references are all gone is not missed)" },
	{ PLANT_WINDOW, "idtable.missed", "core/base/idtable.c",
	  "the key was not found, and its shard is not locked yet", NULL },
	{ PLANT_WINDOW, "idtable.grown", "core/base/idtable.c",
	  "a larger array is published, and the new key does not stand in it yet", NULL },
	{ PLANT_WINDOW, "runs.loaded", "core/qgroup/runs.c",
	  "the word was looked at, and the exchange that depends on it comes next", NULL },
	{ PLANT_WINDOW, "runs.list-held", "core/qgroup/runs.c",
	  "a list is locked, and not changed yet", NULL },
	{ PLANT_WINDOW, "pool.park", "core/base/pool.c",
	  "a worker has seen no new job and is about to sleep", NULL },
	{ PLANT_WINDOW, "pool.publish", "core/base/pool.c",
	  "a job is published and the sleeping workers are not woken yet", NULL },
	{ PLANT_WINDOW, "pool.done", "core/base/pool.c",
	  "the last worker has returned from the job and the caller is not woken yet", NULL },
	{ PLANT_WINDOW, "pool.wait", "core/base/pool.c",
	  "the caller has seen workers at work and is about to sleep", NULL },
	{ PLANT_WINDOW, "reader.block", "core/disk/reader.c",
	  "a block has been read and is not handed on yet", NULL },
	{ PLANT_WINDOW, "rcu.observed", "core/base/rcu.h",
	  "a reader has a pointer and has not used it yet", NULL },
};

#define PLANT_COUNT (sizeof(plant_all) / sizeof(plant_all[0]))

/* The environment, read once by plant_environment_read. */
static pthread_once_t plant_once = PTHREAD_ONCE_INIT;
static const char *plant_bug;      /* as given; may be in no table */
static const char *plant_window;   /* as given, with the stall */
static size_t plant_window_length; /* of the name in plant_window; 0 if it is no name:number */
static uint64_t plant_stall_us;

const struct plant *plant_table(size_t *count)
{
	*count = PLANT_COUNT;
	return plant_all;
}

static bool plant_listed(enum plant_kind kind, const char *name, size_t length)
{
	for (size_t i = 0; i < PLANT_COUNT; i++)
		if (plant_all[i].kind == kind && strlen(plant_all[i].name) == length &&
		    !memcmp(plant_all[i].name, name, length))
			return true;
	return false;
}

static void plant_environment_read(void)
{
	const char *colon;
	char *end;

	plant_bug = getenv("REFSTORM_PLANT");
	plant_window = getenv("REFSTORM_WINDOW");
	colon = plant_window ? strrchr(plant_window, ':') : NULL;
	if (!colon || colon[1] < '0' || colon[1] > '9')
		return;
	errno = 0;
	plant_stall_us = strtoull(colon + 1, &end, 10);
	if (!errno && !*end)
		plant_window_length = (size_t)(colon - plant_window);
}

#ifdef RS_PLANTS
#define PLANT_HAS_BUGS true
#else
#define PLANT_HAS_BUGS false
#endif

#ifdef RS_WINDOWS
#define PLANT_HAS_WINDOWS true
#else
#define PLANT_HAS_WINDOWS false
#endif

int plant_environment_check(struct rs_error *error)
{
	pthread_once(&plant_once, plant_environment_read);
	if (plant_bug && !PLANT_HAS_BUGS)
		return error_set(error, -EINVAL,
				 "REFSTORM_PLANT is set, but this build has no planted bugs");
	if (plant_bug && !plant_listed(PLANT_BUG, plant_bug, strlen(plant_bug)))
		return error_set(error, -EINVAL, "REFSTORM_PLANT: no planted bug named '%s'",
				 plant_bug);
	if (plant_window && !PLANT_HAS_WINDOWS)
		return error_set(error, -EINVAL,
				 "REFSTORM_WINDOW is set, but this build has no windows");
	if (plant_window && !plant_window_length)
		return error_set(error, -EINVAL, "REFSTORM_WINDOW: '%s' is not name:microseconds",
				 plant_window);
	if (plant_window && !plant_listed(PLANT_WINDOW, plant_window, plant_window_length))
		return error_set(error, -EINVAL, "REFSTORM_WINDOW: no window named '%.*s'",
				 (int)plant_window_length, plant_window);
	return 0;
}

#ifdef RS_PLANTS
/* Relaxed: a sum, read when the threads that reach plants have been joined. */
static order_u64 plant_reached;

bool plant_armed(const char *name)
{
	pthread_once(&plant_once, plant_environment_read);
	if (!plant_bug || strcmp(plant_bug, name) != 0)
		return false;
	order_fetch_add_relaxed(&plant_reached, 1);
	return true;
}

uint64_t plant_reached_count(void)
{
	return order_load_relaxed(&plant_reached);
}
#endif

#ifdef RS_WINDOWS
/* An order_ptr holds no pointer to a function, so the hook is a struct. */
static struct window_hook {
	window_fn *fn;
	void *argument;
} window_hook;
static order_ptr window_hooked;

void window_hook_set(window_fn *fn, void *argument)
{
	if (!fn) {
		/* Relaxed: takes the hook away and publishes nothing. */
		order_store_relaxed(&window_hooked, NULL);
		return;
	}
	window_hook.fn = fn;
	window_hook.argument = argument;
	/* WINDOW.hook: the two members of window_hook. */
	order_store_release(&window_hooked, &window_hook);
}

static void window_stall(void)
{
	struct timespec left = {
		.tv_sec = (time_t)(plant_stall_us / 1000000),
		.tv_nsec = (long)(plant_stall_us % 1000000) * 1000,
	};

	/* A signal does not shorten the stall. */
	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

void window_pass(const char *name)
{
	const struct window_hook *hook;
	int error = errno;

	/* WINDOW.hook: sees the members as they were set. */
	hook = order_load_acquire(&window_hooked);
	if (hook)
		hook->fn(name, hook->argument);
	pthread_once(&plant_once, plant_environment_read);
	if (plant_window_length && strlen(name) == plant_window_length &&
	    !memcmp(name, plant_window, plant_window_length))
		window_stall();
	errno = error;
}
#endif
