/* SPDX-License-Identifier: MIT */
#include "stress/forest/round.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/forest/buffer_pool.h"
#include "core/forest/forest_impl.h"
#include "refstorm/image.h"
#include "stress/forest/round_impl.h"
#include "stress/forest/stacks.h"
#include "workloads/script_random.h"

#define SOURCES_MAX 6U        /* subvolumes of an image that snapshots are taken of */
#define IMAGE_FILE "stress-"  /* what no file of an image is named */
#define IMAGE_NUMBER 1000000U /* nor a subvolume */

static int open_image(const struct round *round, const struct rs_forest_options *options,
		      struct rs_forest **forest, struct rs_error *error)
{
	/* Paths are only read. */
	struct rs_image *image;
	int ret = rs_image_open((const char **)(uintptr_t)round->options->images,
				round->options->image_count, &image, error);

	if (ret)
		return ret;
	ret = rs_forest_open(image, options, forest, error);
	rs_image_close(image);
	return ret;
}

static int open_forest(struct round *round, struct rs_error *error)
{
	const struct plan *plan = round->plan;
	const struct rs_forest_options options = {
		.node_bytes = plan->node_bytes,
		.record = (enum rs_record_path)plan->record,
		.observer = script_oracle_observer(round->oracle),
		/*
		 * What an image has is made known to the observer before any of it is taken apart. Without
		 * threads nothing runs beside the script, and everything comes in the same order again.
		 */
		.no_drop_thread = round->options->image_count || !plan->threads,
	};
	int ret;

	ret = round->options->image_count ? open_image(round, &options, &round->forest, error) :
					    rs_forest_create(&options, &round->forest, error);
	if (!ret)
		ret = script_oracle_begin(round->oracle, round->forest, round->options->image_count,
					  error);
	return ret;
}

/* Ids of subvolumes of the image, at most SOURCES_MAX: by the round's seed, in any order. */
static unsigned find_sources(const struct round *round, uint64_t *sources)
{
	struct random_state random;
	struct rs_subvol *subvol;
	uint64_t met = 0;

	random_state_seed(&random, round->plan->seed, 1);
	for (subvol = round->forest->first; subvol; subvol = subvol->next) {
		/* Relaxed: nobody else is there yet. The top level has files of its own everywhere. */
		bool live = order_load_relaxed(&subvol->state) == ROOT_LIVE;
		uint64_t place;

		if (!live || !round->options->image_count || subvol->id < 256)
			continue;
		place = met < SOURCES_MAX ? met : random_state_below(&random, met + 1);
		if (place < SOURCES_MAX)
			sources[place] = subvol->id;
		met++;
	}
	return met < SOURCES_MAX ? (unsigned)met : SOURCES_MAX;
}

static int write_all(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t put = write(fd, text, bytes);

		if (put < 0)
			return -errno;
		text += put;
		bytes -= (size_t)put;
	}
	return 0;
}

/* A name that stands in the way would look like a wrong result. */
static int check_names(const struct round *round, struct rs_error *error)
{
	uint32_t at;

	for (at = 0; at < round->script->subvols.count; at++) {
		const char *name = script_subvol_name(round->script, at);

		if (rs_subvol_find(round->forest, name))
			return error_set(error, -EEXIST,
					 "the image has a subvolume '%s', as scripts have", name);
	}
	return 0;
}

static int make_script(struct round *round, int script_fd, struct rs_error *error)
{
	const struct plan *plan = round->plan;
	uint64_t sources[SOURCES_MAX];
	const struct script_random_options options = {
		.seed = plan->seed,
		.operations = plan->operations,
		.profile = plan->table.name,
		.table = &plan->table,
		.threads = plan->threads,
		.checks = true,
		.check_every = plan->check_every,
		.ends_empty = true,
		.file = round->options->image_count ? IMAGE_FILE : NULL,
		.first_number = round->options->image_count ? IMAGE_NUMBER : 0,
		.sources = sources,
		.source_count = find_sources(round, sources),
	};
	char *text = NULL;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);
	int ret;

	if (!to)
		return error_no_memory(error, "a script");
	ret = script_random_write(&options, to, error);
	if (fclose(to) && !ret)
		ret = error_no_memory(error, "a script");
	if (!ret && write_all(script_fd, text, bytes))
		ret = error_set(error, -EIO, "the script cannot be kept");
	if (!ret)
		ret = script_parse("round.script", text, bytes, &round->script, error);
	free(text);
	return ret ? ret : check_names(round, error);
}

static int begin(struct round *round, int script_fd, struct rs_error *error)
{
	const struct script_oracle_options watch = {
		.finding = round_check_finding,
		.history = round_check_finding,
		.counted = round_check_counted,
		.argument = round,
	};
	int ret = script_oracle_create(&watch, &round->oracle, error);

	/* Each tree block is an allocation that can fail. */
	if (round->refusals.kind != REFUSALS_NONE)
		buffer_pool_keep_apart(true);
	if (!ret)
		ret = open_forest(round, error);
	if (!ret)
		ret = make_script(round, script_fd, error);
	if (!ret)
		ret = script_forest_create(round->script, round->forest, &round->back_end, error);
	if (ret)
		return ret;
	script_forest_engine_set(round->back_end, round->plan->engine == CAMPAIGN_EXTENT ?
							  RS_QUOTA_EXTENT :
							  RS_QUOTA_LEDGER);
	round_seats_init(round);
	round->refusals.forest = round->forest;
	rs_forest_statistics_read(round->forest, &round->begin);
	return 0;
}

static void read_stalls(struct round *round)
{
	struct stalls_window window;
	unsigned at;

	stalls_end();
	/* Relaxed: see board.h. */
	for (at = 0; stalls_window(at, &window); at++)
		order_store_relaxed(&round->board->window_stalls[at], window.stalls);
}

static enum board_outcome run(struct round *round, struct rs_error *error)
{
	const struct plan *plan = round->plan;
	const struct script_run_options options = {
		.script = round->script,
		.backend = &round->backend,
		.check = round_check,
		.check_argument = round,
	};
	struct script_run_result result;
	enum script_run_outcome outcome;

	if (plan->stall_one_in)
		stalls_begin(plan->timing_seed, plan->stall_one_in);
	board_step(round->board, "runs the script");
	outcome = script_run(&options, &result, error);
	if (plan->stall_one_in)
		read_stalls(round);
	if (outcome == SCRIPT_RUN_UNUSABLE || outcome == SCRIPT_RUN_NOTHING)
		return BOARD_UNUSABLE;
	return round_check_end(round, outcome != SCRIPT_RUN_OK, error);
}

static void end(struct round *round)
{
	board_step(round->board, "ends");
	script_forest_destroy(round->back_end);
	rs_forest_destroy(round->forest);
	script_oracle_destroy(round->oracle);
	script_free(round->script);
	refusals_end(&round->refusals);
}

void round_run(const struct plan *plan, const struct campaign_options *options, struct board *board,
	       int script_fd)
{
	struct round round = { .plan = plan, .options = options, .board = board };
	enum board_outcome outcome = BOARD_UNUSABLE;
	struct rs_error error = RS_ERROR_INIT;

	board_step(board, "begins");
	round.state_digest = 1;
	refusals_init(&round.refusals, plan->refusals, plan->timing_seed);
	if (!begin(&round, script_fd, &error))
		outcome = run(&round, &error);
	snprintf(board->why, sizeof(board->why), "%s%s%s", error.where, error.where[0] ? ": " : "",
		 error.what);
	end(&round);
	/* Relaxed: read when this process has ended. */
	order_store_relaxed(&board->outcome, outcome);
}
