/* SPDX-License-Identifier: MIT */
#include "stress/record/watchdog.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "stress/record/crew.h"
#include "stress/record/parking.h"
#include "stress/record/producers.h"

static const char *const phase_names[SHARED_PHASES] = {
	"between operations",     "in rs_operation_begin", "in an operation",
	"in rs_operation_record", "in rs_operation_end",
};

void watchdog_init(struct watchdog *watchdog)
{
	memset(watchdog, 0, sizeof(*watchdog));
}

/* Nanoseconds since it last moved; `idle` counts as moving. */
static uint64_t watchdog_still(struct watchdog *watchdog, unsigned at, uint64_t progress, bool idle,
			       uint64_t now)
{
	if (idle || progress != watchdog->seen[at] || !watchdog->since_ns[at]) {
		watchdog->seen[at] = progress;
		watchdog->since_ns[at] = now;
	}
	return now - watchdog->since_ns[at];
}

static uint64_t watchdog_seat(struct watchdog *watchdog, const struct stress *stress, unsigned at,
			      bool idle, uint64_t now)
{
	const struct seat *seat = &stress->seats[at];

	/* Relaxed, here and below: whether it moves. Producers rest between two operations. */
	idle = idle || !seat->started ||
	       (order_load_relaxed(&seat->shared->phase) == SHARED_OUTSIDE &&
		parking_is_asked(&stress->parking));
	return watchdog_still(watchdog, at, order_load_relaxed(&seat->shared->deltas), idle, now);
}

static uint64_t watchdog_worker(struct watchdog *watchdog, const struct stress *stress, unsigned at,
				bool idle, uint64_t now)
{
	const struct worker *worker = &stress->workers[at];

	uint64_t progress = order_load_relaxed(&worker->progress);

	idle = idle || !order_load_relaxed(&worker->state);
	/* Heads that are run are progress of whoever runs them, and of those whose turn comes next. */
	if (worker->fn == runners_work || worker->fn == mergers_work)
		progress += order_load_relaxed(&stress->heads.heads);
	return watchdog_still(watchdog, SHARED_SEATS_MAX + at, progress, idle, now);
}

/* What the kernel says that the thread sleeps in. */
static void watchdog_describe_thread(uint32_t thread)
{
	char path[64];
	char text[128] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%u/wchan", thread);
	file = fopen(path, "re");
	if (file) {
		if (!fgets(text, sizeof(text), file))
			text[0] = 0;
		fclose(file);
	}
	fprintf(stderr, " (thread %u, kernel: %s)\n", thread, text);
}

static void watchdog_describe(struct watchdog *watchdog, const struct stress *stress, uint64_t now)
{
	unsigned at;

	fprintf(stderr, "hang:\n");
	for (at = 0; at < stress->seat_count; at++) {
		const struct shared_seat *seat = &stress->shared->seats[at];

		fprintf(stderr, "  producer %u: %s, %" PRIu64 " deltas, still for %" PRIu64 " ms",
			at, phase_names[order_load_relaxed(&seat->phase) % SHARED_PHASES],
			order_load_relaxed(&seat->deltas),
			(now - watchdog->since_ns[at]) / 1000000);
		watchdog_describe_thread(order_load_relaxed(&seat->thread));
	}
	for (at = 0; at < stress->worker_count; at++) {
		const struct worker *worker = &stress->workers[at];
		const char *state = order_load_relaxed(&worker->state);

		fprintf(stderr, "  %s %u: %s, still for %" PRIu64 " ms", worker->role,
			worker->number, state ? state : "rests or has ended",
			(now - watchdog->since_ns[SHARED_SEATS_MAX + at]) / 1000000);
		watchdog_describe_thread(order_load_relaxed(&worker->thread));
	}
}

bool watchdog_look(struct watchdog *watchdog, struct stress *stress)
{
	uint64_t limit = stress->options->hang_seconds * 1000000000;
	bool stopped = order_load_relaxed(&stress->shared->tracer.stopped) != 0;
	uint64_t now = clock_now_ns();
	uint64_t most = 0;
	unsigned at;

	for (at = 0; at < stress->seat_count; at++) {
		uint64_t still = watchdog_seat(watchdog, stress, at, stopped, now);

		most = still > most ? still : most;
	}
	for (at = 0; at < stress->worker_count; at++) {
		uint64_t still = watchdog_worker(watchdog, stress, at, stopped, now);

		most = still > most ? still : most;
	}
	if (most <= limit)
		return false;
	watchdog_describe(watchdog, stress, now);
	return true;
}
