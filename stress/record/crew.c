/* SPDX-License-Identifier: MIT */
#include "stress/record/crew.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "core/base/alloc.h"

#define CREW_COMMITS HEADCHECK_TRANSACTIONS

static void *crew_main(void *argument)
{
	struct worker *worker = argument;

	/* Relaxed: for people. */
	order_own_store_relaxed(&worker->thread, (uint32_t)gettid());
	worker->fn(worker);
	/* NULL: it has ended, and is not missed. */
	order_own_store_relaxed(&worker->state, NULL);
	return NULL;
}

struct crew_role {
	const char *name;
	worker_fn *fn;
	uint64_t count;
};

static int crew_role_start(struct stress *stress, const struct crew_role *role)
{
	unsigned at;

	for (at = 0; at < role->count; at++) {
		struct worker *worker = &stress->workers[stress->worker_count++];

		worker->stress = stress;
		worker->fn = role->fn;
		worker->role = role->name;
		worker->number = at;
		random_state_seed(&worker->random, stress->options->timing_seed,
				  2000 + stress->worker_count);
		worker_step(worker, "begins");
		worker->started = !pthread_create(&worker->handle, NULL, crew_main, worker);
		if (!worker->started)
			return -EAGAIN;
	}
	return 0;
}

int crew_start(struct stress *stress)
{
	const struct options *options = stress->options;
	const struct crew_role roles[] = {
		{ "runner", runners_work, options->runners },
		{ "merger", mergers_work, options->mergers },
		{ "viewer", viewers_work, options->viewers },
		{ "looker", lookers_work, options->lookers },
	};
	size_t count = options->runners + options->mergers + options->viewers + options->lookers;
	size_t at;
	int result = 0;

	pthread_mutex_init(&stress->commit_mutex, NULL);
	stress->commits = alloc_array(CREW_COMMITS, sizeof(*stress->commits));
	stress->workers = alloc_aligned(ORDER_LINE, count, sizeof(*stress->workers));
	if (!stress->commits || !stress->workers)
		return -ENOMEM;
	for (at = 0; at < 4 && !result; at++)
		result = crew_role_start(stress, &roles[at]);
	return result;
}

bool crew_is_done(const struct stress *stress)
{
	unsigned at;

	for (at = 0; at < stress->worker_count; at++)
		/* Relaxed: a hint, to be followed by a join. */
		if (order_load_relaxed(&stress->workers[at].state))
			return false;
	return true;
}

void crew_join(struct stress *stress)
{
	unsigned at;

	for (at = 0; at < stress->worker_count; at++)
		if (stress->workers[at].started)
			pthread_join(stress->workers[at].handle, NULL);
}

void crew_destroy(struct stress *stress)
{
	alloc_free(stress->commits);
	alloc_free(stress->workers);
}

void crew_pause(struct worker *worker, uint64_t ms)
{
	uint64_t us = random_state_below(&worker->random, ms * 1000 + 1);
	struct timespec pause = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	if (us)
		nanosleep(&pause, NULL);
}

int crew_commit(struct stress *stress, uint64_t *cut)
{
	bool full;
	int result;

	pthread_mutex_lock(&stress->commit_mutex);
	full = stress->commit_count >= CREW_COMMITS - 16;
	pthread_mutex_unlock(&stress->commit_mutex);
	/* No more transactions are watched: plain cuts must do. */
	if (full)
		return -EAGAIN;
	result = rs_commit_cut(stress->record, cut);
	stress_count(result ? &stress->counts.commits_refused : &stress->counts.commits);
	if (result)
		return result;
	pthread_mutex_lock(&stress->commit_mutex);
	stress->commits[stress->commit_count++] = *cut;
	pthread_mutex_unlock(&stress->commit_mutex);
	return 0;
}
