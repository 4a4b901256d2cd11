// SPDX-License-Identifier: MIT
/*
 * Two stretches of one run. The first is what the tables are of, with perf's clock beside it, which costs next to
 * nothing; the second, shorter one has the stacks of switches, which cost more.
 */
#include "bench/profile/profile.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench/profile/flame.h"
#include "bench/profile/perf.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/probe.h"

#define WARM_UP_MOST 1.0  /* seconds */
#define OFF_CPU_MOST 2.0  /* seconds */
#define ON_CPU_RATE 499.0 /* samples in a second, not in step with what happens every millisecond */
#define ON_CPU_MOST 60000.0 /* samples: half a gigabyte of stacks */
#define OFF_CPU_RATE 2000U  /* stacks in a second, about */

static void note(struct profile_result *result, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void note(struct profile_result *result, const char *format, ...)
{
	va_list arguments;

	if (result->note_count == PROFILE_NOTES)
		return;
	va_start(arguments, format);
	vsnprintf(result->notes[result->note_count++], sizeof(result->notes[0]), format, arguments);
	va_end(arguments);
}

/* In one piece, so that this thread is not in the picture. False: interrupted, or a thread has failed. */
static bool rest(const struct profile_options *options, const struct profile_run *run,
		 double seconds)
{
	uint64_t until = clock_now_ns() + (uint64_t)(seconds * 1e9);

	while (!options->interrupted() && !profile_run_has_failed(run)) {
		uint64_t now = clock_now_ns();
		uint64_t left = until > now ? until - now : 0;
		struct timespec pause = { (time_t)(left / 1000000000), (long)(left % 1000000000) };

		if (!left)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

static double cpu_seconds(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static uint64_t switches(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)(usage.ru_nvcsw + usage.ru_nivcsw);
}

/* Writes the graph beside its place, and moves it there. */
static bool write_graph(const struct profile_options *options, const struct fold *fold,
			const char *name, const struct flame_options *flame)
{
	char path[4096];
	char temporary[4096 + 8];
	bool written;
	FILE *file;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", options->directory, name) >=
	    sizeof(path)) {
		errno = ENAMETOOLONG;
		return false;
	}
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	file = fopen(temporary, "we");
	if (!file)
		return false;
	written = flame_write(file, fold, flame);
	if (fclose(file) || !written || rename(temporary, path)) {
		int why = errno;

		unlink(temporary);
		errno = why;
		return false;
	}
	return true;
}

static void take_top(const struct fold *fold, bool program, struct profile_stacks *stacks)
{
	struct fold_share shares[PROFILE_TOP];
	size_t at;

	stacks->weight = fold_frame(fold, 0)->weight;
	stacks->count = fold_top(fold, program, shares, PROFILE_TOP);
	for (at = 0; at < stacks->count; at++) {
		snprintf(stacks->top[at].function, sizeof(stacks->top[at].function), "%s",
			 shares[at].name);
		stacks->top[at].share = (double)shares[at].weight / (double)stacks->weight;
	}
}

static int read_stacks(struct perf *perf, uint64_t every, struct fold *fold, uint64_t *samples,
		       struct rs_error *error)
{
	FILE *text = perf_read(perf, error);
	int result;

	if (!text)
		return error->code;
	if (perf->kind == PERF_OFF_CPU)
		result = fold_read_switches(fold, text, every, (uint32_t)gettid(), samples);
	else
		result = fold_read_samples(fold, text, samples);
	if (result)
		return error_set(error, result, "what perf saw cannot be read: %s",
				 strerror(-result));
	return perf_close(perf, error);
}

static void draw(const struct profile_options *options, const struct fold *fold, bool off,
		 struct profile_stacks *stacks, struct profile_result *result)
{
	char title[160];
	char about[160];
	const struct flame_options flame = { title, about, off ? FLAME_NS : FLAME_SAMPLES };

	snprintf(title, sizeof(title), "%s: %s", options->run.kind->name,
		 off ? "waiting (off CPU)" : "running (on CPU)");
	snprintf(about, sizeof(about), "engine %s, record %s, %u threads, %u snapshots; %s",
		 profile_engine_name(&options->run), profile_record_name(&options->run),
		 options->run.threads, options->run.snapshots,
		 off ? "time of threads that wait, from a sample of all waits" :
		       "samples by the clock of the CPUs");
	snprintf(stacks->svg, sizeof(stacks->svg), "flame-%s-cpu-%s.svg", off ? "off" : "on",
		 options->stamp);
	if (!write_graph(options, fold, stacks->svg, &flame)) {
		note(result, "%s/%s: cannot be written: %s", options->directory, stacks->svg,
		     strerror(errno));
		stacks->svg[0] = '\0';
	}
}

/* perf has been told to end. What goes wrong is a note. */
static void take_stacks(const struct profile_options *options, struct perf *perf, uint64_t every,
			struct profile_stacks *stacks, struct profile_result *result)
{
	bool off = perf->kind == PERF_OFF_CPU;
	struct rs_error error = RS_ERROR_INIT;
	struct fold *fold = fold_create();
	int code = fold ? 0 : error_set(&error, -ENOMEM, "no memory for stacks");

	if (!code)
		code = read_stacks(perf, every, fold, &stacks->samples, &error);
	if (code) {
		note(result, "no %s flame graph: %s", off ? "off-CPU" : "on-CPU", error.what);
	} else if (!stacks->samples) {
		note(result, "no %s flame graph: perf saw no %s", off ? "off-CPU" : "on-CPU",
		     off ? "thread that waited" : "sample");
	} else {
		stacks->there = true;
		take_top(fold, off, stacks);
		draw(options, fold, off, stacks, result);
	}
	perf_close(perf, NULL);
	fold_destroy(fold);
}

static bool begin_perf(struct perf *perf, enum perf_kind kind, uint64_t number,
		       struct profile_result *result)
{
	struct rs_error error = RS_ERROR_INIT;

	if (!perf_begin(perf, kind, number, &error))
		return true;
	note(result, "no %s flame graph: %s", kind == PERF_OFF_CPU ? "off-CPU" : "on-CPU",
	     error.what);
	return false;
}

static bool end_perf(struct perf *perf, struct profile_result *result)
{
	struct rs_error error = RS_ERROR_INIT;

	if (!perf_end(perf, &error))
		return true;
	note(result, "no %s flame graph: %s", perf->kind == PERF_OFF_CPU ? "off-CPU" : "on-CPU",
	     error.what);
	perf_close(perf, NULL);
	return false;
}

/* The stretch that the tables are of. */
static int measure(const struct profile_options *options, const struct profile_run *run,
		   struct profile_result *result, struct rs_error *error)
{
	struct lock_table before = { 0 };
	struct tally tally;
	uint64_t operations;
	uint64_t begin;
	double cpu;
	int code;

	/* Times are on from here: the longest ones are of this stretch. */
	lock_statistics_enable(true);
	tally_longest_forget();
	code = lock_table_read(&before);
	if (code)
		return error_set(error, code, "no memory for the table of locks");
	PROBE0(measure_begin);
	tally_read(&tally);
	operations = profile_run_operations(run);
	cpu = cpu_seconds();
	begin = clock_now_ns();
	(void)rest(options, run, options->seconds);
	result->seconds = (double)(clock_now_ns() - begin) / 1e9;
	result->cpu_seconds = cpu_seconds() - cpu;
	result->operations = profile_run_operations(run) - operations;
	tally_read(&result->tally);
	tally_subtract(&result->tally, &tally);
	PROBE0(measure_end);
	code = lock_table_read(&result->locks);
	if (!code)
		lock_table_subtract(&result->locks, &before);
	else
		error_set(error, code, "no memory for the table of locks");
	lock_table_destroy(&before);
	lock_statistics_enable(false);
	return code;
}

/* How many switches a stack has to stand for, by how many there were. */
static uint64_t stand_for(uint64_t count, double seconds)
{
	double rate = seconds > 0 ? (double)count / seconds / OFF_CPU_RATE : 1;

	return rate > 1 ? (uint64_t)rate + 1 : 1;
}

/* Longer runs are looked at less often. */
static uint64_t rate_of(const struct profile_options *options)
{
	double rate = ON_CPU_MOST / (options->seconds * options->run.threads);

	if (rate > ON_CPU_RATE)
		rate = ON_CPU_RATE;
	return rate > 1 ? (uint64_t)rate : 1;
}

static void measure_off_cpu(const struct profile_options *options, const struct profile_run *run,
			    uint64_t every, struct profile_result *result)
{
	double seconds = options->seconds < OFF_CPU_MOST ? options->seconds : OFF_CPU_MOST;
	struct perf perf;

	if (!begin_perf(&perf, PERF_OFF_CPU, every, result))
		return;
	(void)rest(options, run, seconds);
	if (end_perf(&perf, result))
		take_stacks(options, &perf, every, &result->off_cpu, result);
}

static int look(const struct profile_options *options, struct profile_run *run,
		struct profile_result *result, struct rs_error *error)
{
	double warm_up = options->seconds / 4 < WARM_UP_MOST ? options->seconds / 4 : WARM_UP_MOST;
	struct perf perf;
	uint64_t begin;
	uint64_t count;
	bool watched;
	int code;

	if (!rest(options, run, warm_up))
		return 0;
	watched = options->perf && begin_perf(&perf, PERF_ON_CPU, rate_of(options), result);
	count = switches();
	begin = clock_now_ns();
	code = measure(options, run, result, error);
	count = switches() - count;
	begin = clock_now_ns() - begin;
	watched = watched && end_perf(&perf, result);
	if (!code && options->perf && !options->interrupted() && !profile_run_has_failed(run))
		measure_off_cpu(options, run, stand_for(count, (double)begin / 1e9), result);
	if (watched)
		take_stacks(options, &perf, 1, &result->on_cpu, result);
	return code;
}

int profile_make(const struct profile_options *options, struct profile_result *result,
		 struct rs_error *error)
{
	struct profile_run *run;
	int code;
	int ended;

	memset(result, 0, sizeof(*result));
	if (!options->perf)
		note(result, "no flame graphs: perf was not wanted");
	code = profile_run_begin(&options->run, &run, error);
	if (code)
		return code;
	code = look(options, run, result, error);
	result->interrupted = options->interrupted();
	ended = profile_run_end(run, code ? NULL : error);
	return code ? code : ended;
}

void profile_destroy(struct profile_result *result)
{
	lock_table_destroy(&result->locks);
}
