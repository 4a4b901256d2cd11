// SPDX-License-Identifier: MIT
/* refstorm profile: what a workload waits for, and where its time goes. */
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/profile/profile.h"
#include "bench/sweep/run_record.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/text.h"
#include "core/base/topology.h"

#define THREADS_MAX 1024U
#define SNAPSHOTS_MAX 1000000U
#define SECONDS_MAX 3600U
#define SNAPSHOTS 16U
#define SECONDS 5U

struct profile_arguments {
	struct profile_options options;
	const char *json; /* NULL: none was asked for */
	bool out_given;
	char stamp[16];
};

enum {
	PROFILE_WORKLOAD = IMAGE_OPTION_FIRST,
	PROFILE_ENGINE,
	PROFILE_RECORD,
	PROFILE_THREADS,
	PROFILE_SNAPSHOTS,
	PROFILE_SECONDS,
	PROFILE_SEED,
	PROFILE_OUT,
	PROFILE_JSON,
	PROFILE_NO_PERF
};

static bool parse_workload(const char *text, struct profile_run_options *run)
{
	const struct rs_workload *kind;
	unsigned at;

	run->kind = workload_find(text);
	if (run->kind)
		return true;
	cli_message("--workload: there is no workload '%s'; there are:", text);
	for (at = 0; (kind = workload_at(at)); at++)
		fprintf(stderr, "  %-20s %s\n", kind->name, kind->summary);
	return false;
}

static bool parse_engine(const char *text, struct profile_run_options *run)
{
	run->quotas = strcmp(text, "off") != 0;
	run->engine = RS_QUOTA_LEDGER;
	if (!run->quotas || !strcmp(text, "ledger"))
		return true;
	run->engine = RS_QUOTA_EXTENT;
	if (!strcmp(text, "extent"))
		return true;
	cli_message("--engine: '%s' is none of off, ledger and extent", text);
	return false;
}

static bool parse_record(const char *text, struct profile_run_options *run)
{
	static const enum rs_record_path paths[] = { RS_RECORD_PERCPU, RS_RECORD_LOCKED,
						     RS_RECORD_HASHED };
	size_t at;

	for (at = 0; at < sizeof(paths) / sizeof(paths[0]); at++) {
		run->record = paths[at];
		if (!strcmp(text, profile_record_name(run)))
			return true;
	}
	cli_message("--record: '%s' is none of percpu, locked and hashed", text);
	return false;
}

/* A whole number from `least` on. False after a message. */
static bool parse_number(const char *option, const char *text, unsigned least, unsigned most,
			 unsigned *number)
{
	unsigned long long value;

	if (!cli_number(option, text, most, &value))
		return false;
	if (value < least) {
		cli_message("%s: %s is too small", option, text);
		return false;
	}
	*number = (unsigned)value;
	return true;
}

static bool parse_seed(const char *text, struct profile_run_options *run)
{
	unsigned long long seed;

	if (!cli_number("--seed", text, INT64_MAX, &seed))
		return false;
	run->seed = seed;
	return true;
}

/* False after a message. */
static bool take_option(int option, struct profile_arguments *arguments)
{
	struct profile_options *options = &arguments->options;
	struct profile_run_options *run = &options->run;
	unsigned seconds;

	switch (option) {
	case PROFILE_WORKLOAD:
		return parse_workload(optarg, run);
	case PROFILE_ENGINE:
		return parse_engine(optarg, run);
	case PROFILE_RECORD:
		return parse_record(optarg, run);
	case PROFILE_THREADS:
		return parse_number("--threads", optarg, 1, THREADS_MAX, &run->threads);
	case PROFILE_SNAPSHOTS:
		return parse_number("--snapshots", optarg, 0, SNAPSHOTS_MAX, &run->snapshots);
	case PROFILE_SECONDS:
		if (!parse_number("--seconds", optarg, 1, SECONDS_MAX, &seconds))
			return false;
		options->seconds = seconds;
		return true;
	case PROFILE_SEED:
		return parse_seed(optarg, run);
	case PROFILE_OUT:
		options->directory = optarg;
		arguments->out_given = true;
		return true;
	case PROFILE_JSON:
		arguments->json = optarg;
		return true;
	default:
		options->perf = false;
		return true;
	}
}

/* What does not go together. False after a message. */
static bool check_arguments(int left, const struct profile_options *options)
{
	if (left) {
		cli_message("profile: an argument too many; see refstorm help profile");
		return false;
	}
	if (!options->run.kind) {
		cli_message("profile: no workload given (--workload W); see refstorm help profile");
		return false;
	}
	if (options->run.kind->needs_quotas && !options->run.quotas) {
		cli_message("profile: the workload '%s' cannot run with --engine off",
			    options->run.kind->name);
		return false;
	}
	return true;
}

static bool parse(int argc, char **argv, struct profile_arguments *arguments)
{
	static const struct option options[] = {
		{ "workload", required_argument, NULL, PROFILE_WORKLOAD },
		{ "engine", required_argument, NULL, PROFILE_ENGINE },
		{ "record", required_argument, NULL, PROFILE_RECORD },
		{ "threads", required_argument, NULL, PROFILE_THREADS },
		{ "snapshots", required_argument, NULL, PROFILE_SNAPSHOTS },
		{ "seconds", required_argument, NULL, PROFILE_SECONDS },
		{ "seed", required_argument, NULL, PROFILE_SEED },
		{ "out", required_argument, NULL, PROFILE_OUT },
		{ "json", required_argument, NULL, PROFILE_JSON },
		{ "no-perf", no_argument, NULL, PROFILE_NO_PERF },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option < IMAGE_OPTION_FIRST)
			return image_option_refuse("profile", argv[optind - 1], option);
		if (!take_option(option, arguments))
			return false;
	}
	return check_arguments(argc - optind, &arguments->options);
}

/* As many threads as CPUs may be used. False after a message. */
static bool take_defaults(struct profile_options *options)
{
	struct rs_error error = RS_ERROR_INIT;
	struct topology *topology;

	if (options->run.threads)
		return true;
	if (topology_create(&topology, &error)) {
		cli_error(&error);
		return false;
	}
	options->run.threads = topology_cpus(topology);
	topology_destroy(topology);
	return true;
}

/* Made where it is missing; found out before the run whether files can be made in it. */
static bool open_directory(const char *path)
{
	if (!mkdir(path, 0777) || errno == EEXIST) {
		if (!access(path, W_OK | X_OK))
			return true;
	}
	cli_message("%s: files cannot be made there: %s", path, strerror(errno));
	return false;
}

static void take_stamp(struct profile_arguments *arguments)
{
	time_t now = time(NULL);
	struct tm parts;

	if (!localtime_r(&now, &parts) ||
	    !strftime(arguments->stamp, sizeof(arguments->stamp), "%H%M%S", &parts))
		strcpy(arguments->stamp, "000000");
	arguments->options.stamp = arguments->stamp;
}

static bool write_json(FILE *to, const void *argument)
{
	/* text_write_json frees it, and it is written more than once. */
	return text_write_json(to, json_incref((json_t *)(uintptr_t)argument));
}

static bool write_results(const struct profile_arguments *arguments, json_t *all)
{
	char path[4096];
	bool written = cli_output_write(arguments->json, write_json, all);

	if (!arguments->out_given)
		return written;
	snprintf(path, sizeof(path), "%s/profile-%s.json", arguments->options.directory,
		 arguments->stamp);
	return cli_output_write(path, write_json, all) && written;
}

static int finish(const struct profile_arguments *arguments, const struct profile_result *result,
		  json_t *run)
{
	json_t *all = profile_json(&arguments->options, result, run);
	bool written;

	if (!all) {
		cli_message("profile: no memory for the result");
		return CLI_EXIT_UNUSABLE;
	}
	written = write_results(arguments, all);
	json_decref(all);
	if (!cli_output_is_stdout(arguments->json))
		profile_print(stdout, &arguments->options, result);
	if (!written)
		return CLI_EXIT_UNUSABLE;
	if (result->interrupted)
		return CLI_EXIT_INTERRUPTED;
	if (!result->operations) {
		cli_message("profile: the workload did nothing in the time");
		return CLI_EXIT_NOTHING;
	}
	return CLI_EXIT_OK;
}

/* Of the run's own errors only wanting memory and threads lie with the machine. */
static int run_failed(int code, const struct rs_error *error)
{
	cli_error(error);
	return code == -ENOMEM || code == -EAGAIN ? CLI_EXIT_UNUSABLE : CLI_EXIT_WRONG;
}

static int run_profile(int argc, char **argv)
{
	struct profile_arguments arguments = {
		.options = { .run = { .quotas = true,
				      .engine = RS_QUOTA_LEDGER,
				      .record = RS_RECORD_PERCPU,
				      .snapshots = SNAPSHOTS,
				      .seed = 1 },
			     .seconds = SECONDS,
			     .perf = true,
			     .directory = ".",
			     .interrupted = cli_interrupted },
	};
	struct rs_error error = RS_ERROR_INIT;
	struct profile_result result;
	int code;

	if (!parse(argc, argv, &arguments) || !take_defaults(&arguments.options) ||
	    !open_directory(arguments.options.directory))
		return CLI_EXIT_UNUSABLE;
	take_stamp(&arguments);
	cli_catch_interrupt();
	code = profile_make(&arguments.options, &result, &error);
	code = code ? run_failed(code, &error) :
		      finish(&arguments, &result, run_record_make(argc, argv));
	profile_destroy(&result);
	return code;
}

const struct cli_command cli_profile = {
	.name = "profile",
	.summary = "show what locks a workload waits for, and where its time goes",
	.help = "usage: refstorm profile --workload W [OPTION]...\n"
		"\n"
		"Runs a workload in memory and prints how often each lock was taken and waited for,\n"
		"exchanges tried again and waits for grace periods; and where perf is installed and\n"
		"allowed, flame graphs of where threads ran and where they waited.\n"
		"\n"
		"  --workload W   which one; 'refstorm list' names them\n"
		"  --engine E     off, ledger (the default) or extent: which keeps the accounts\n"
		"  --record R     percpu (the default), locked or hashed\n"
		"  --threads N    as many as there are CPUs, if it is not given\n"
		"  --snapshots N  that there are while it runs: 16\n"
		"  --seconds S    that are measured, after a second of warming up: 5\n"
		"  --seed N       what the workload draws: 1\n"
		"  --out DIR      where flame graphs (flame-on-cpu-HHMMSS.svg, flame-off-cpu-...)\n"
		"                 and profile-HHMMSS.json go; without it the graphs go where you are\n"
		"  --json F       the result as JSON; - is standard output\n"
		"  --no-perf      only what the program counts by itself\n"
		"\n"
		"Exit status: 0 done, also where perf is missing, of which a note tells; 1 the\n"
		"workload failed, or its result is wrong; 2 wrong arguments, or a file that cannot be\n"
		"written; 6 it did nothing; 130 interrupted, with what was measured up to then.\n",
	.run = run_profile,
};
