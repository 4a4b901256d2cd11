/* SPDX-License-Identifier: MIT */
#include "stress/record/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"

struct option_number {
	const char *name;
	size_t at;
	uint64_t least;
	uint64_t most;
	uint64_t normal;
	const char *help;
};

#define NUMBER(name, member, least, most, normal, help)                                            \
	{                                                                                          \
		name, offsetof(struct options, member), least, most, normal, help                  \
	}

static const struct option_number numbers[] = {
	NUMBER("--threads", threads, 1, 256, 16, "producers"),
	NUMBER("--deltas", deltas, 0, UINT64_MAX / 2, 0, "to record, at least"),
	NUMBER("--seconds", seconds, 0, 1000000, 0, "to go on for, at least"),
	NUMBER("--seed", seed, 0, UINT64_MAX, 0, "of the data"),
	NUMBER("--timing-seed", timing_seed, 0, UINT64_MAX, 0, "of pauses, stalls, moves"),
	NUMBER("--extents", extents, 64, 1 << 22, 16384, "of 16 keys each"),
	NUMBER("--cpus", cpus, 0, 4096, 0, "queues of CPUs; 0: one for each"),
	NUMBER("--runners", runners, 1, 8, 2, "threads that cut and run"),
	NUMBER("--mergers", mergers, 0, 16, 1, "threads that merge"),
	NUMBER("--viewers", viewers, 0, 16, 2, "threads that hold views"),
	NUMBER("--lookers", lookers, 0, 16, 1, "threads that look up"),
	NUMBER("--soft-deltas", soft_deltas, 0, UINT64_MAX / 2, 0, "as rs_record_options"),
	NUMBER("--hard-deltas", hard_deltas, 0, UINT64_MAX / 2, 0, "as rs_record_options"),
	NUMBER("--age-ms", age_ms, 0, 1000000, 0, "as rs_record_options"),
	NUMBER("--view-age-ms", view_age_ms, 0, 1000000, 0, "as rs_record_options"),
	NUMBER("--hold-ms", hold_ms, 0, 100000, 50, "views are held up to so long"),
	NUMBER("--pause-ms", pause_ms, 0, 100000, 20, "between turns of runners and mergers"),
	NUMBER("--check-ms", check_ms, 1, 1000000, 3000, "between checks of all sums"),
	NUMBER("--churn", churn, 0, UINT32_MAX, 20000, "one in N operations: leave, end, move"),
	NUMBER("--naps", naps, 0, UINT32_MAX, 50000, "one in N operations is slept in"),
	NUMBER("--failures", failures, 0, UINT32_MAX, 500000, "one in N heads is refused"),
	NUMBER("--stalls", stalls, 0, UINT32_MAX, 0, "one in N passes of windows"),
	NUMBER("--stops", stops, 0, 1000000, 0, "of producers, at least"),
	NUMBER("--stop-ms", stop_ms, 1, 10000, 1000, "the longest stop"),
	NUMBER("--hang-seconds", hang_seconds, 1, 100000, 30, "without progress: a hang"),
};

#define NUMBER_COUNT (sizeof(numbers) / sizeof(numbers[0]))

static const char *const path_names[] = { "percpu", "locked", "hashed" };
static const char *const queue_names[] = { "best", "rseq", "portable" };

static uint64_t *option_place(struct options *options, const struct option_number *number)
{
	return (uint64_t *)((char *)options + number->at);
}

static void options_usage(FILE *to)
{
	size_t at;

	fputs("usage: refstorm-record-stress [OPTION]...\n\n"
	      "Records deltas from many threads, runs them, and checks that nothing is lost,\n"
	      "doubled, split or run too early.\n\n"
	      "  --record percpu|locked|hashed\n"
	      "  --queue best|rseq|portable\n",
	      to);
	for (at = 0; at < NUMBER_COUNT; at++)
		fprintf(to, "  %-15s N  %s (%llu)\n", numbers[at].name, numbers[at].help,
			(unsigned long long)numbers[at].normal);
	fputs("  --spread           addresses in four places that are far apart\n"
	      "  --no-help          producers that wait for room have no runner\n"
	      "  --json F           the result as JSON; - is standard output\n\n"
	      "Numbers may end in k, m or g (1024). Seeds that are not given are drawn.\n"
	      "Exit: 0 pass, 1 a difference, 2 wrong arguments, 3 hang, 6 nothing done.\n",
	      to);
}

static bool option_number_parse(const char *text, uint64_t *value)
{
	unsigned shift = 0;
	char *end;

	errno = 0;
	if (*text < '0' || *text > '9')
		return false;
	*value = strtoull(text, &end, 10);
	if (*end == 'k')
		shift = 10;
	else if (*end == 'm')
		shift = 20;
	else if (*end == 'g')
		shift = 30;
	if (errno || (shift ? end[1] : *end) || *value > UINT64_MAX >> shift)
		return false;
	*value <<= shift;
	return true;
}

static bool option_choose(const char *text, const char *const names[3], unsigned *choice)
{
	for (*choice = 0; *choice < 3; ++*choice)
		if (!strcmp(text, names[*choice]))
			return true;
	return false;
}

/* Takes an option with a value. */
static bool option_take(struct options *options, const char *name, const char *text)
{
	unsigned choice;
	size_t at;

	for (at = 0; at < NUMBER_COUNT; at++) {
		uint64_t *place = option_place(options, &numbers[at]);

		if (!strcmp(name, numbers[at].name))
			return option_number_parse(text, place) && *place >= numbers[at].least &&
			       *place <= numbers[at].most;
	}
	if (!strcmp(name, "--json")) {
		options->json = text;
	} else if (!strcmp(name, "--record") && option_choose(text, path_names, &choice)) {
		options->path = (enum rs_record_path)choice;
	} else if (!strcmp(name, "--queue") && option_choose(text, queue_names, &choice)) {
		options->queue = (enum rs_record_queue)choice;
	} else {
		return false;
	}
	return true;
}

static void options_default(struct options *options)
{
	uint64_t now = clock_now_ns();
	size_t at;

	memset(options, 0, sizeof(*options));
	for (at = 0; at < NUMBER_COUNT; at++)
		*option_place(options, &numbers[at]) = numbers[at].normal;
	options->seed = now;
	options->timing_seed = now ^ (now << 20);
}

int options_parse(struct options *options, int argc, char **argv)
{
	int at;

	options_default(options);
	for (at = 1; at < argc; at++) {
		if (!strcmp(argv[at], "--help")) {
			options_usage(stdout);
			return -1;
		}
		if (!strcmp(argv[at], "--spread")) {
			options->spread = true;
		} else if (!strcmp(argv[at], "--no-help")) {
			options->no_help = true;
		} else if (at + 1 == argc || !option_take(options, argv[at], argv[at + 1])) {
			fprintf(stderr, "refstorm-record-stress: %s %s: wrong; see --help\n",
				argv[at], at + 1 == argc ? "" : argv[at + 1]);
			return 2;
		} else {
			at++;
		}
	}
	if (!options->deltas && !options->seconds && !options->stops)
		options->deltas = 10000000;
	options->extents = (options->extents + 63) & ~UINT64_C(63);
	return 0;
}

const char *options_path_name(const struct options *options)
{
	return path_names[options->path];
}

const char *options_queue_name(const struct options *options)
{
	return queue_names[options->queue];
}
