// SPDX-License-Identifier: MIT
/* refstorm bench: a sweep over workloads, engines, record paths, threads and snapshots. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sweep/result.h"
#include "bench/sweep/run_record.h"
#include "bench/sweep/sweep.h"
#include "cli/bench_check.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "core/base/clock.h"

#define BLOCKS_MAX (1ULL << 32)
#define SECONDS_MAX 86400.0
#define FAILURES_SHOWN 20U

struct bench_arguments {
	struct plan plan;
	char **images; /* room for all arguments; the plan's */
	const char *json;
	bool list_points;
};

enum {
	BENCH_WORKLOAD = IMAGE_OPTION_FIRST,
	BENCH_ENGINE,
	BENCH_RECORD,
	BENCH_THREADS,
	BENCH_SNAPSHOTS,
	BENCH_BLOCKS,
	BENCH_SECONDS,
	BENCH_WARM_UP,
	BENCH_LIMIT,
	BENCH_REPEAT,
	BENCH_SEED,
	BENCH_IMAGE,
	BENCH_NO_PIN,
	BENCH_LOCK_TIMES,
	BENCH_LIST_POINTS,
	BENCH_JSON,
};

/* From `least` to a day. False after a message. */
static bool parse_seconds(const char *option, double least, double *seconds)
{
	char *end;
	double value = strtod(optarg, &end);

	if (strspn(optarg, "0123456789.") != strlen(optarg) || end == optarg || *end) {
		cli_message("%s: '%s' is no number of seconds", option, optarg);
		return false;
	}
	if (!(value >= least && value <= SECONDS_MAX)) {
		cli_message("%s: %s is not from %g to %g seconds", option, optarg, least,
			    SECONDS_MAX);
		return false;
	}
	*seconds = value;
	return true;
}

/* A whole number of at least one. False after a message. */
static bool parse_count(const char *option, unsigned long long most, unsigned long long *number)
{
	if (!cli_number(option, optarg, most, number))
		return false;
	if (*number)
		return true;
	cli_message("%s: 0 is too small", option);
	return false;
}

static bool take_list(int option, struct plan *plan)
{
	struct rs_error error = RS_ERROR_INIT;
	int ret;

	switch (option) {
	case BENCH_WORKLOAD:
		ret = plan_workloads_parse(plan, optarg, &error);
		break;
	case BENCH_ENGINE:
		ret = plan_engines_parse(plan, optarg, &error);
		break;
	case BENCH_RECORD:
		ret = plan_records_parse(plan, optarg, &error);
		break;
	case BENCH_THREADS:
		ret = plan_threads_parse(plan, optarg, &error);
		break;
	default:
		ret = plan_snapshots_parse(plan, optarg, &error);
		break;
	}
	if (ret)
		cli_error(&error);
	return !ret;
}

static bool take_number(int option, struct plan *plan)
{
	unsigned long long number = 0;
	bool good;

	switch (option) {
	case BENCH_BLOCKS:
		good = parse_count("--blocks", BLOCKS_MAX, &number);
		plan->blocks = number;
		return good;
	case BENCH_REPEAT:
		good = parse_count("--repeat", PLAN_REPEAT_MAX, &number);
		plan->repeat = (unsigned)number;
		return good;
	case BENCH_SEED:
		good = cli_number("--seed", optarg, INT64_MAX, &number);
		plan->seed = number;
		return good;
	case BENCH_SECONDS:
		return parse_seconds("--seconds", 0.001, &plan->seconds);
	case BENCH_WARM_UP:
		return parse_seconds("--warm-up", 0, &plan->warm_up);
	default:
		return parse_seconds("--limit", 0.1, &plan->limit);
	}
}

static bool take_option(int option, struct bench_arguments *arguments)
{
	struct plan *plan = &arguments->plan;

	switch (option) {
	case BENCH_IMAGE:
		arguments->images[plan->image_count++] = optarg;
		return true;
	case BENCH_NO_PIN:
		plan->pin = false;
		return true;
	case BENCH_LOCK_TIMES:
		plan->lock_times = true;
		return true;
	case BENCH_LIST_POINTS:
		arguments->list_points = true;
		return true;
	case BENCH_JSON:
		arguments->json = optarg;
		return true;
	default:
		return option <= BENCH_SNAPSHOTS ? take_list(option, plan) :
						   take_number(option, plan);
	}
}

static bool parse(int argc, char **argv, struct bench_arguments *arguments)
{
	static const struct option options[] = {
		{ "workload", required_argument, NULL, BENCH_WORKLOAD },
		{ "engine", required_argument, NULL, BENCH_ENGINE },
		{ "record", required_argument, NULL, BENCH_RECORD },
		{ "threads", required_argument, NULL, BENCH_THREADS },
		{ "snapshots", required_argument, NULL, BENCH_SNAPSHOTS },
		{ "blocks", required_argument, NULL, BENCH_BLOCKS },
		{ "seconds", required_argument, NULL, BENCH_SECONDS },
		{ "warm-up", required_argument, NULL, BENCH_WARM_UP },
		{ "limit", required_argument, NULL, BENCH_LIMIT },
		{ "repeat", required_argument, NULL, BENCH_REPEAT },
		{ "seed", required_argument, NULL, BENCH_SEED },
		{ "image", required_argument, NULL, BENCH_IMAGE },
		{ "no-pin", no_argument, NULL, BENCH_NO_PIN },
		{ "lock-times", no_argument, NULL, BENCH_LOCK_TIMES },
		{ "list-points", no_argument, NULL, BENCH_LIST_POINTS },
		{ "json", required_argument, NULL, BENCH_JSON },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option < IMAGE_OPTION_FIRST)
			return image_option_refuse("bench", argv[optind - 1], option);
		if (!take_option(option, arguments))
			return false;
	}
	if (optind < argc)
		cli_message("bench: '%s' is one too many; see refstorm help bench", argv[optind]);
	return optind == argc;
}

static void print_points(const struct plan *plan)
{
	size_t at;

	for (at = 0; at < plan->point_count; at++) {
		const struct plan_point *point = &plan->points[at];

		printf("%s engine:%s record:%s threads:%u snapshots:%u\n", point->workload->name,
		       plan_engine_name(point->engine), plan_record_name(point->record),
		       point->threads, point->snapshots);
	}
}

/* The line on a terminal. */
struct bench_progress {
	struct progress line;
	uint64_t begin_ns;
};

static void show_progress(void *argument, size_t done, size_t all, const struct plan_point *next)
{
	struct bench_progress *progress = argument;
	double spent = (double)(clock_now_ns() - progress->begin_ns) / 1e9;
	char left[32] = "";

	if (!progress->line.visible)
		return;
	if (done)
		snprintf(left, sizeof(left), ", %.0f s left",
			 ceil(spent * (double)(all - done) / (double)done));
	fprintf(stderr, "\r\033[K%zu of %zu runs%s: %s %s %s, %u threads, %u snapshots", done, all,
		left, next->workload->name, plan_engine_name(next->engine),
		plan_record_name(next->record), next->threads, next->snapshots);
	progress->line.drawn = true;
}

struct bench_output {
	const struct result *result;
	json_t *run;
	bool partial;
};

static bool write_json(FILE *to, const void *argument)
{
	const struct bench_output *output = argument;

	return text_write_json(to, result_json(output->result, json_incref(output->run),
					       output->partial));
}

/* Messages for points that failed. */
static void show_failures(const struct result *result)
{
	const struct plan *plan = result->plan;
	unsigned shown = 0;
	size_t at;

	for (at = 0; at < plan->point_count; at++) {
		const struct plan_point *point = &plan->points[at];

		if (!result->points[at].failed[0])
			continue;
		if (shown++ == FAILURES_SHOWN) {
			cli_message("... and more points failed");
			return;
		}
		cli_message("%s, engine %s, record %s, %u threads, %u snapshots: %s",
			    point->workload->name, plan_engine_name(point->engine),
			    plan_record_name(point->record), point->threads, point->snapshots,
			    result->points[at].failed);
	}
}

static int exit_code(const struct sweep_outcome *outcome)
{
	if (outcome->interrupted)
		return CLI_EXIT_INTERRUPTED;
	if (outcome->crashed)
		return CLI_EXIT_CRASH;
	if (outcome->hung)
		return CLI_EXIT_HANG;
	if (outcome->wrong)
		return CLI_EXIT_WRONG;
	return outcome->idle ? CLI_EXIT_NOTHING : CLI_EXIT_OK;
}

/* What came out, however the sweep ended. */
static int show(const struct bench_arguments *arguments, const struct result *result,
		const struct sweep_outcome *outcome, json_t *run)
{
	const struct bench_output output = { result, run, outcome->interrupted };
	int code = exit_code(outcome);

	if (!cli_output_is_stdout(arguments->json)) {
		if (!result_print(stdout, result)) {
			cli_message("bench: no memory for the table");
			code = CLI_EXIT_UNUSABLE;
		}
		fflush(stdout);
	}
	show_failures(result);
	if (outcome->interrupted)
		cli_message("interrupted: what was complete is kept");
	if (!cli_output_write(arguments->json, write_json, &output))
		code = CLI_EXIT_UNUSABLE;
	return code;
}

static int run_sweep(const struct bench_arguments *arguments, json_t *run)
{
	struct bench_progress progress = { .begin_ns = clock_now_ns() };
	const struct sweep_hooks hooks = {
		.interrupted = cli_interrupted,
		.progress = show_progress,
		.argument = &progress,
	};
	struct rs_error error = RS_ERROR_INIT;
	struct sweep_outcome outcome;
	struct result result;
	int code = CLI_EXIT_UNUSABLE;

	if (result_create(&arguments->plan, &result)) {
		cli_message("bench: no memory");
		return code;
	}
	cli_catch_interrupt();
	progress_begin(&progress.line, false);
	if (sweep_run(&arguments->plan, &hooks, &result, &outcome, &error)) {
		progress_end(&progress.line);
		cli_error(&error);
	} else {
		progress_end(&progress.line);
		code = show(arguments, &result, &outcome, run);
	}
	result_destroy(&result);
	return code;
}

/* Whether the image can be read at all. False after a message. */
static bool check_image(const struct bench_arguments *arguments)
{
	const struct plan *plan = &arguments->plan;
	struct rs_error error = RS_ERROR_INIT;
	struct rs_image *image;

	if (!plan->image_count)
		return true;
	if (!image_option_check_mounts(arguments->images, plan->image_count))
		return false;
	if (rs_image_open(plan->images, plan->image_count, &image, &error)) {
		cli_error(&error);
		return false;
	}
	image_option_warn(image, plan->images[0]);
	rs_image_close(image);
	return true;
}

/* Whether the result can be written there, before hours are spent on it. False after a message. */
static bool check_output(const struct bench_arguments *arguments)
{
	struct cli_output output;

	if (!arguments->json || cli_output_is_stdout(arguments->json))
		return true;
	return cli_output_open(&output, arguments->json) && cli_output_close(&output, false);
}

static int plan_and_run(struct bench_arguments *arguments, int argc, char **argv)
{
	struct rs_error error = RS_ERROR_INIT;
	int code = CLI_EXIT_UNUSABLE;
	json_t *run;

	if (plan_points_make(&arguments->plan, &error)) {
		cli_error(&error);
		return code;
	}
	if (arguments->list_points) {
		print_points(&arguments->plan);
		return CLI_EXIT_OK;
	}
	if (!check_image(arguments) || !check_output(arguments))
		return code;
	run = run_record_make(argc, argv);
	if (run)
		code = run_sweep(arguments, run);
	else
		cli_message("bench: no memory");
	json_decref(run);
	return code;
}

static int run_bench(int argc, char **argv)
{
	struct bench_arguments arguments = { 0 };
	int code = CLI_EXIT_UNUSABLE;

	plan_init(&arguments.plan);
	arguments.plan.oracle = bench_check;
	/* No more images than arguments. */
	arguments.images = calloc((size_t)argc, sizeof(*arguments.images));
	arguments.plan.images = (const char *const *)arguments.images;
	if (!arguments.images)
		cli_message("bench: no memory");
	else if (parse(argc, argv, &arguments))
		code = plan_and_run(&arguments, argc, argv);
	plan_clear(&arguments.plan);
	free(arguments.images);
	return code;
}

const struct cli_command cli_bench = {
	.name = "bench",
	.summary = "measure workloads over engines, record paths, threads and snapshots",
	.help = "usage: refstorm bench --workload W,... [OPTION]...\n"
		"\n"
		"Runs workloads, and measures them: each combination of what the lists name is a\n"
		"point. Each run of a point is a process of its own, which makes a forest, warms up,\n"
		"is measured, and is then counted again by the oracle: a point whose check fails, or\n"
		"that crashes or hangs, has no numbers. Points take turns in random order. Printed\n"
		"are medians; what stands in brackets bounds the 95 % interval of the median.\n"
		"\n"
		"  --workload W,...    what is run; refstorm list names all\n"
		"  --engine E,...      who keeps the accounts: off, ledger (the default), extent\n"
		"  --record R,...      how reference changes are recorded: percpu (the default),\n"
		"                      locked, hashed\n"
		"  --threads N,...     that run it together: 1\n"
		"  --snapshots N,...   that there are meanwhile: 16\n"
		"  --blocks N          of 4 KiB, in its files: a default of each workload\n"
		"  --seconds S         that are measured, in each run: 2\n"
		"  --warm-up S         that come before them: 0.5\n"
		"  --repeat N          runs of each point: 5\n"
		"  --limit S           a run that takes longer, all in all, hangs, and is ended: 300\n"
		"                      and twice what is measured and warms up\n"
		"  --seed N            of the data, and of the order: 1\n"
		"  --image IMG         begin with the btrfs file system in IMG instead of nothing;\n"
		"                      given once for each of its devices, which are not written to\n"
		"  --no-pin            do not bind each thread to a CPU\n"
		"  --lock-times        measure how long locks are waited for and held, too: it slows\n"
		"                      down what takes many\n"
		"  --list-points       print the points, and run nothing\n"
		"  --json F            write all numbers to F; - is standard output, without the table\n"
		"\n"
		"Exit status: 0 all points were measured, and right; 1 one is wrong; 2 wrong\n"
		"arguments, or a result that cannot be written; 3 one hung; 4 one crashed; 6 one in\n"
		"which nothing was done; 130 interrupted, and what is complete is written, marked\n"
		"as partial.\n",
	.run = run_bench,
};
