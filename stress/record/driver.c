/* SPDX-License-Identifier: MIT */
#include "stress/record/driver.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/plant.h"
#include "stress/record/crew.h"
#include "stress/record/faults.h"
#include "stress/record/parking.h"
#include "stress/record/producers.h"
#include "stress/record/settle.h"
#include "stress/record/stalls.h"
#include "stress/record/stops.h"
#include "stress/record/watchdog.h"

#define DRIVER_TICK_NS 2000000L
#define DRIVER_SAMPLE_NS UINT64_C(20000000)
#define DRIVER_WATCH_NS UINT64_C(500000000)
#define DRIVER_REFUSALS 100U

static volatile sig_atomic_t driver_interrupted;

/* The driver's own. */
struct driver {
	struct stress *stress;
	struct watchdog watchdog;
	pid_t tracer; /* 0: none */
	uint64_t sampled_ns;
	uint64_t watched_ns;
	uint64_t checked_ns;
};

void driver_interrupt(int signal)
{
	(void)signal;
	driver_interrupted = 1;
}

/* The driver itself hangs, in a call of the record: nobody else would notice. */
static void driver_alarm(int signal)
{
	static const char text[] = "hang: the driver, in a check at rest\n";

	(void)signal;
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(faults_count() ? STRESS_FAULT : STRESS_HANG);
}

static int driver_record_create(struct stress *stress)
{
	const struct options *options = stress->options;
	struct rs_record_options wanted = {
		.path = options->path,
		.queue = options->queue,
		.cpus = (unsigned)options->cpus,
		.run = options->no_help ? NULL : headcheck_take,
		.argument = &stress->helped,
		.soft_deltas = options->soft_deltas,
		.hard_deltas = options->hard_deltas,
		.age_ns_max = options->age_ms * 1000000,
		.view_age_ns_max = options->view_age_ms * 1000000,
	};
	struct rs_error error = RS_ERROR_INIT;
	int result = rs_record_create(&wanted, &stress->record, &error);

	if (result)
		fprintf(stderr, "refstorm-record-stress: %s\n", error.what);
	return result;
}

enum stress_verdict driver_create(struct stress *stress, const struct options *options)
{
	memset(stress, 0, sizeof(*stress));
	stress->options = options;
	stress->seat_count = (unsigned)options->threads;
	stress->parkers = stress->seat_count + (unsigned)options->viewers;
	keyspace_init(&stress->space, (uint32_t)options->extents, options->spread);
	viewcheck_init(&stress->views, (unsigned)options->viewers);
	parking_init(&stress->parking);
	stress->shared = shared_create(stress->seat_count);
	if (!stress->shared ||
	    headcheck_create(&stress->heads, &stress->space, &stress->views, options->failures,
			     options->timing_seed) ||
	    producers_create(stress)) {
		fputs("refstorm-record-stress: no memory\n", stderr);
		return STRESS_UNUSABLE;
	}
	headcheck_order_init(&stress->helped, &stress->heads, true);
	/* Relaxed: before the threads begin. */
	order_store_relaxed(&stress->quota_is_enough, !options->seconds && !options->stops);
	return STRESS_PASS;
}

void driver_destroy(struct stress *stress)
{
	producers_destroy(stress);
	crew_destroy(stress);
	rs_record_destroy(stress->record);
	headcheck_destroy(&stress->heads);
	shared_destroy(stress->shared);
	parking_destroy(&stress->parking);
}

/* What goes on while the driver waits for anything. False: a hang. */
static bool driver_tick(struct driver *driver)
{
	const struct timespec tick = { .tv_nsec = DRIVER_TICK_NS };
	struct stress *stress = driver->stress;
	uint64_t now;

	nanosleep(&tick, NULL);
	alarm((unsigned)stress->options->hang_seconds + 30);
	producers_tend(stress);
	now = clock_now_ns();
	if (now - driver->sampled_ns >= DRIVER_SAMPLE_NS) {
		settle_sample(stress);
		driver->sampled_ns = now;
	}
	if (faults_count() || driver_interrupted)
		/* Relaxed: seen soon. */
		order_store_relaxed(&stress->finish, 1);
	if (now - driver->watched_ns < DRIVER_WATCH_NS)
		return true;
	driver->watched_ns = now;
	return !watchdog_look(&driver->watchdog, stress);
}

/* All sums, while producers and viewers rest. False: a hang. */
static bool driver_check(struct driver *driver)
{
	struct stress *stress = driver->stress;

	parking_ask(&stress->parking);
	while (parking_count(&stress->parking) < stress->parkers)
		if (!driver_tick(driver))
			return false;
	settle_check(stress);
	parking_release(&stress->parking);
	driver->checked_ns = clock_now_ns();
	return true;
}

static bool driver_is_enough(const struct stress *stress)
{
	const struct options *options = stress->options;

	if (stress_is_over(stress))
		return true;
	/* Relaxed: set before the threads began. Then producers end by themselves. */
	if (order_load_relaxed(&stress->quota_is_enough))
		return false;
	/* The kernel lets nobody be stopped: they will be missing in the end. */
	if (order_load_relaxed(&stress->shared->tracer.failed) > DRIVER_REFUSALS &&
	    !order_load_relaxed(&stress->shared->tracer.stops))
		return true;
	return shared_deltas(stress->shared) >= options->deltas &&
	       clock_now_ns() - stress->begin_ns >= options->seconds * 1000000000 &&
	       order_load_relaxed(&stress->shared->tracer.stops) >= options->stops;
}

/* Until enough has been done. False: a hang. */
static bool driver_wait(struct driver *driver)
{
	struct stress *stress = driver->stress;

	while (!driver_is_enough(stress) && !producers_are_done(stress)) {
		if (!driver_tick(driver))
			return false;
		if (clock_now_ns() - driver->checked_ns >= stress->options->check_ms * 1000000 &&
		    !driver_check(driver))
			return false;
	}
	/* Relaxed: seen soon. */
	order_store_relaxed(&stress->finish, 1);
	return true;
}

/* Producers and viewers end while runners still make room for them; then those do. False: a hang. */
static bool driver_end(struct driver *driver)
{
	struct stress *stress = driver->stress;

	if (driver->tracer && !stops_end(stress->shared, driver->tracer))
		faults_report("the tracer has died");
	driver->tracer = 0;
	while (parking_count(&stress->parking) < stress->parkers)
		if (!driver_tick(driver))
			return false;
	settle_check(stress);
	/* Relaxed: seen soon. */
	order_store_relaxed(&stress->rest, 1);
	while (!crew_is_done(stress))
		if (!driver_tick(driver))
			return false;
	crew_join(stress);
	headcheck_commits(&stress->heads, stress->commits, stress->commit_count);
	stalls_end();
	return true;
}

static uint64_t driver_cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

/* What was asked for and has not happened. */
static const char *driver_missing(const struct stress *stress)
{
	const struct options *options = stress->options;
	const struct stress_counts *counts = &stress->counts;
	/* Relaxed, all: the threads have been joined. */
	struct {
		const char *what;
		bool missing;
	} const all[] = {
		{ "deltas", !stress->deltas },
		{ "cuts", !order_load_relaxed(&counts->cuts) },
		{ "commits", !order_load_relaxed(&counts->commits) },
		{ "runs", !order_load_relaxed(&counts->runs) },
		{ "heads", !order_load_relaxed(&stress->heads.heads) },
		{ "checks", !order_load_relaxed(&counts->checks) },
		{ "views", options->viewers && !order_load_relaxed(&counts->views) },
		{ "samples under a view",
		  options->viewers && !order_load_relaxed(&counts->samples) },
		{ "merges", options->mergers && !order_load_relaxed(&stress->shared->merges) },
		{ "look-ups", options->lookers && !order_load_relaxed(&stress->shared->lookups) },
		{ "stalls", options->stalls && !stalls_made() },
		{ "stops", order_load_relaxed(&stress->shared->tracer.stops) < options->stops },
	};
	size_t at;

	for (at = 0; at < sizeof(all) / sizeof(all[0]); at++)
		if (all[at].missing)
			return all[at].what;
	return NULL;
}

static enum stress_verdict driver_judge(struct stress *stress, bool hangs)
{
	const char *missing;

	if (faults_count())
		return STRESS_FAULT;
	if (hangs)
		return STRESS_HANG;
	if (driver_interrupted)
		return STRESS_INTERRUPTED;
	missing = driver_missing(stress);
	if (missing)
		fprintf(stderr, "refstorm-record-stress: nothing checked: no %s\n", missing);
	return missing ? STRESS_NOTHING : STRESS_PASS;
}

static bool driver_start(struct driver *driver)
{
	struct stress *stress = driver->stress;
	const struct options *options = stress->options;

	if (options->stops)
		driver->tracer =
			stops_start(stress->shared, options->timing_seed, options->stop_ms);
	if (driver->tracer < 0 || driver_record_create(stress))
		return false;
	if (options->stalls)
		stalls_begin(options->timing_seed, options->stalls);
	stress->begin_ns = clock_now_ns();
	driver->checked_ns = stress->begin_ns;
	if (!crew_start(stress) && !producers_start(stress))
		return true;
	/* Threads may run: there is no way back. */
	fputs("refstorm-record-stress: no memory or no threads\n", stderr);
	_Exit(STRESS_UNUSABLE);
}

enum stress_verdict driver_run(struct stress *stress)
{
	struct driver *driver = alloc_zeroed(1, sizeof(*driver));
	uint64_t cpu_ns;
	bool hangs;

	if (!driver)
		return STRESS_UNUSABLE;
	driver->stress = stress;
	stress->generator_ns = producers_measure(stress);
	cpu_ns = driver_cpu_ns();
	if (!driver_start(driver)) {
		if (driver->tracer > 0)
			(void)stops_end(stress->shared, driver->tracer);
		alloc_free(driver);
		return STRESS_UNUSABLE;
	}
	signal(SIGALRM, driver_alarm);
	hangs = !driver_wait(driver) || !driver_end(driver);
	alarm(0);
	stress->end_ns = clock_now_ns();
	stress->cpu_ns = driver_cpu_ns() - cpu_ns;
	stress->deltas = shared_deltas(stress->shared);
	if (!hangs)
		rs_record_statistics_read(stress->record, &stress->statistics);
	if (driver->tracer)
		(void)stops_end(stress->shared, driver->tracer);
	stops_places_find(stress->shared);
	alloc_free(driver);
	return driver_judge(stress, hangs);
}
