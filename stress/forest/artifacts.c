/* SPDX-License-Identifier: MIT */
#include "stress/forest/artifacts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/error.h"

#define NAMES_MAX 1000 /* folders of the same round */

/* What is written, and where to. */
struct folder {
	const struct trial *trial;
	struct campaign_result *result;
	int error; /* the first; a negative errno */
	char path[CAMPAIGN_PATH_BYTES];
};

/* The folder and those above it. 0 or a negative errno. */
static int make_folders(const char *path)
{
	char *copy = alloc_string(path);
	char *slash;
	int ret = 0;

	if (!copy)
		return -ENOMEM;
	for (slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		(void)!mkdir(copy, 0777);
		*slash = '/';
	}
	if (mkdir(copy, 0777) && errno != EEXIST)
		ret = -errno;
	alloc_free(copy);
	return ret;
}

/* The next name that is free. 0 or a negative errno. */
static int make_own(struct folder *folder)
{
	const struct trial *trial = folder->trial;
	int number;

	for (number = 1; number < NAMES_MAX; number++) {
		int put = snprintf(folder->path, sizeof(folder->path),
				   "%s/%s-seed%" PRIu64 "-round%" PRIu64, trial->options->artifacts,
				   campaign_verdict_name(trial->verdict), trial->options->seed,
				   trial->plan->number);

		if (put < 0 || (size_t)put + 16 >= sizeof(folder->path))
			return -ENAMETOOLONG;
		if (number > 1)
			snprintf(folder->path + put, 16, "-%d", number);
		if (!mkdir(folder->path, 0777))
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static FILE *open_file(struct folder *folder, const char *name)
{
	char path[CAMPAIGN_PATH_BYTES + 32];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder->path, name);
	file = fopen(path, "we");
	if (!file && !folder->error)
		folder->error = -errno;
	return file;
}

static void close_file(struct folder *folder, FILE *file)
{
	bool bad = file && ferror(file);

	if (file && (fclose(file) || bad) && !folder->error)
		folder->error = -EIO;
}

static void write_file(struct folder *folder, const char *name, const char *text, size_t bytes)
{
	FILE *file = open_file(folder, name);

	if (file && bytes)
		(void)!fwrite(text, bytes, 1, file);
	close_file(folder, file);
}

/* One that lines count from 1. Its end, behind the newline. */
static size_t line_end(const char *text, size_t bytes, uint32_t line)
{
	const char *at = text;

	while (line-- && at < text + bytes) {
		const char *newline = memchr(at, '\n', (size_t)(text + bytes - at));

		if (!newline)
			return bytes;
		at = newline + 1;
	}
	return (size_t)(at - text);
}

/* Up to the last line that was begun; checks are no operations, and stand behind the last one. */
static size_t script_end(const struct trial *trial, const char *text, size_t bytes)
{
	static const char place[] = "round.script:";
	const char *named = strstr(trial->why, place);
	uint32_t last = board_last_line(trial->board);
	size_t end;

	if (named && strtoul(named + sizeof(place) - 1, NULL, 10) > last)
		last = (uint32_t)strtoul(named + sizeof(place) - 1, NULL, 10);
	/* What was found when all was through. */
	if (trial->verdict == CAMPAIGN_LEAK || (trial->verdict == CAMPAIGN_ORACLE && !named))
		return bytes;
	end = line_end(text, bytes, last);
	if (bytes - end >= 6 && !memcmp(text + end, "check\n", 6))
		end += 6;
	return end;
}

static void write_about(struct folder *folder)
{
	const struct trial *trial = folder->trial;
	const struct campaign_options *options = trial->options;
	const struct plan *plan = trial->plan;
	FILE *file = open_file(folder, "about.txt");

	if (!file)
		return;
	fprintf(file, "%s: %s\n\n", campaign_verdict_name(trial->verdict), trial->why);
	fprintf(file, "command     %s\n", options->command);
	fprintf(file, "commit      %s\n", options->commit ? options->commit : "not known");
	fprintf(file, "seed        %" PRIu64 "\n", options->seed);
	fprintf(file, "round       %" PRIu64 "\n", plan->number);
	fprintf(file, "profile     %s\n", campaign_profile_name(plan->profile));
	fprintf(file, "engine      %s\n", campaign_engine_name(plan->engine));
	fprintf(file, "record      %s\n", campaign_record_name(plan->record));
	fprintf(file, "threads     %u\n", plan->threads);
	fprintf(file, "node bytes  %u\n", plan->node_bytes);
	fprintf(file, "faults      %s\n",
		plan->refusals == REFUSALS_SINGLE ? "single allocations fail" :
		plan->refusals == REFUSALS_SPELLS ? "all allocations fail for a while" :
		plan->stall_one_in                ? "stalls at windows" :
						    "none");
	fprintf(file, "operations  %" PRIu64 " begun\n", board_operations(trial->board));
	close_file(folder, file);
}

/* The text of one line. */
static void put_line(FILE *file, const char *text, size_t bytes, uint32_t line)
{
	size_t from = line_end(text, bytes, line - 1);
	size_t to = line_end(text, bytes, line);

	fprintf(file, "  %u: %.*s", line, (int)(to - from), text + from);
}

static void write_threads(struct folder *folder, const char *text, size_t bytes)
{
	FILE *file = open_file(folder, "threads.txt");
	unsigned seat;

	/* Relaxed, all: the process has ended. */
	for (seat = 0; file && seat < BOARD_SEATS; seat++) {
		const struct board_seat *one = &folder->trial->board->seats[seat];
		uint64_t begun = order_load_relaxed(&one->begun);
		uint64_t at = begun > BOARD_LINES ? begun - BOARD_LINES : 0;

		if (!order_load_relaxed(&one->thread))
			continue;
		fprintf(file, "thread %u: %" PRIu64 " operations begun, the last one %s\n",
			order_load_relaxed(&one->thread), begun,
			order_load_relaxed(&one->inside) ? "has not ended" : "has ended");
		for (; at < begun; at++)
			put_line(file, text, bytes,
				 order_load_relaxed(&one->lines[at % BOARD_LINES]));
	}
	close_file(folder, file);
}

/* Without faults the script alone is enough; what allocations fail, and where stalls are, the round draws again. */
static void make_command(const struct folder *folder, char *command, size_t bytes)
{
	const struct plan *plan = folder->trial->plan;
	const struct campaign_options *options = folder->trial->options;
	char engine[32] = "";
	char threads[32] = "";
	char nodes[32] = "";

	if (plan->refusals != REFUSALS_NONE || plan->stall_one_in) {
		snprintf(command, bytes,
			 "'%s' stress --seed %" PRIu64 " --first-round %" PRIu64
			 " --rounds 1%s --artifacts \"$folder/again\"",
			 options->program, options->seed, plan->number, options->draw_arguments);
		return;
	}
	if (plan->engine != CAMPAIGN_OFF)
		snprintf(engine, sizeof(engine), " --engine %s",
			 campaign_engine_name(plan->engine));
	if (plan->threads)
		snprintf(threads, sizeof(threads), " --threads %u", plan->threads);
	if (plan->node_bytes)
		snprintf(nodes, sizeof(nodes), " --node-bytes %u", plan->node_bytes);
	snprintf(command, bytes, "'%s' exec%s --record %s%s%s%s \"$folder/round.script\"",
		 options->program, engine, campaign_record_name(plan->record), threads, nodes,
		 options->image_arguments);
}

static void write_replay(struct folder *folder)
{
	static const char *const armed[] = { "REFSTORM_PLANT", "REFSTORM_WINDOW" };
	const struct plan *plan = folder->trial->plan;
	struct campaign_result *result = folder->result;
	FILE *file = open_file(folder, "replay.sh");
	char path[CAMPAIGN_PATH_BYTES + 32];
	unsigned at;

	if (!file)
		return;
	fputs("#!/bin/sh\n", file);
	if (plan->threads)
		fputs("# On several threads: the same lines, and another interleaving. Try it often.\n",
		      file);
	if (plan->refusals != REFUSALS_NONE || plan->stall_one_in)
		fputs("# The round again, with its faults: round.script alone does not have them.\n",
		      file);
	fputs("folder=$(cd \"$(dirname \"$0\")\" && pwd)\n", file);
	for (at = 0; at < sizeof(armed) / sizeof(armed[0]); at++)
		if (getenv(armed[at]))
			fprintf(file, "export %s='%s'\n", armed[at], getenv(armed[at]));
	make_command(folder, result->replay, sizeof(result->replay));
	fprintf(file, "exec %s\n", result->replay);
	close_file(folder, file);
	snprintf(path, sizeof(path), "%s/replay.sh", folder->path);
	(void)!chmod(path, 0755);
	snprintf(result->replay, sizeof(result->replay), "%.*s/replay.sh",
		 (int)sizeof(result->replay) - 16, folder->path);
}

static void write_all(struct folder *folder)
{
	struct board *board = folder->trial->board;
	size_t bytes;
	char *text = trial_read(folder->trial->errors_fd, &bytes);

	write_file(folder, "stderr.txt", text ? text : "", bytes);
	alloc_free(text);
	text = trial_read(folder->trial->script_fd, &bytes);
	if (text) {
		write_file(folder, "round.script", text, script_end(folder->trial, text, bytes));
		write_threads(folder, text, bytes);
	}
	alloc_free(text);
	board->finding[sizeof(board->finding) - 1] = 0;
	write_file(folder, "finding.txt", board->finding, strlen(board->finding));
	write_about(folder);
	write_replay(folder);
}

int artifacts_write(const struct trial *trial, struct campaign_result *result,
		    struct rs_error *error)
{
	struct folder folder = { .trial = trial, .result = result };
	int ret = make_folders(trial->options->artifacts);

	if (!ret)
		ret = make_own(&folder);
	if (!ret) {
		write_all(&folder);
		snprintf(result->artifacts, sizeof(result->artifacts), "%s", folder.path);
		ret = folder.error;
	}
	if (ret)
		error_set(error, ret, "%s: what has failed cannot be kept: %s",
			  trial->options->artifacts, strerror(-ret));
	return ret;
}
