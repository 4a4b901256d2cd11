// SPDX-License-Identifier: MIT
/* refstorm stress: rounds of random scripts on the live forest, with faults, under all oracles. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/sweep/run_record.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/stress_output.h"
#include "core/base/clock.h"
#include "stress/forest/campaign.h"
#include "workloads/script_random.h"

#define SECONDS_DEFAULT 30
#define THREADS_DEFAULT 4
#define ARTIFACTS_DEFAULT "stress-artifacts"
#define SECONDS_MAX 100000000

struct stress_arguments {
	struct campaign_options campaign;
	bool seconds_given;
	bool rounds_given;
	bool quiet;
	const char *json;
	const char **images;
	char *draw;  /* texts for replay.sh */
	char *where; /* the images */
	char *line;  /* the command */
	char program[CAMPAIGN_PATH_BYTES];
};

enum {
	STRESS_SEED = IMAGE_OPTION_FIRST,
	STRESS_DURATION,
	STRESS_ROUNDS,
	STRESS_FIRST,
	STRESS_THREADS,
	STRESS_ENGINE,
	STRESS_RECORD,
	STRESS_IMAGE,
	STRESS_PROFILE,
	STRESS_OPERATIONS,
	STRESS_ARTIFACTS,
	STRESS_HANG,
	STRESS_NO_FAULTS,
	STRESS_JSON,
	STRESS_QUIET
};

/* One of `count` names, or all. False after a message. */
static bool parse_choice(const char *option, const char *text, const char *(*name)(unsigned),
			 unsigned count, bool *wanted)
{
	bool found = !strcmp(text, "all");
	unsigned at;

	for (at = 0; at < count; at++) {
		wanted[at] = !strcmp(text, "all") || !strcmp(text, name(at));
		found |= wanted[at];
	}
	if (!found) {
		cli_message("%s: '%s' is none of %s, %s, %s and all", option, text, name(0),
			    name(1), name(2));
		return false;
	}
	return true;
}

static const char *engine_name(unsigned at)
{
	return campaign_engine_name((enum campaign_engine)at);
}

static bool parse_profile(const char *text, struct campaign_options *campaign)
{
	unsigned at;

	for (at = 0; campaign_profile_name(at); at++)
		if (!strcmp(campaign_profile_name(at), text)) {
			campaign->profile = text;
			return true;
		}
	cli_message("--profile: there is no profile '%s'; there are:", text);
	for (at = 0; campaign_profile_name(at); at++)
		cli_message("  %s", campaign_profile_name(at));
	return false;
}

/* Numbers, of which `least` is the smallest. False after a message. */
static bool parse_number(const char *option, unsigned long long least, unsigned long long most,
			 unsigned long long *number)
{
	if (!cli_number(option, optarg, most, number))
		return false;
	if (*number >= least)
		return true;
	cli_message("%s: %s is too small; the least is %llu", option, optarg, least);
	return false;
}

static bool take_number(int option, struct stress_arguments *arguments)
{
	struct campaign_options *campaign = &arguments->campaign;
	unsigned long long number;

	switch (option) {
	case STRESS_SEED:
		if (!parse_number("--seed", 0, UINT64_MAX, &number))
			return false;
		campaign->seed = number;
		return true;
	case STRESS_DURATION:
		if (!parse_number("--duration", 1, SECONDS_MAX, &number))
			return false;
		campaign->seconds = (double)number;
		arguments->seconds_given = true;
		return true;
	case STRESS_ROUNDS:
		if (!parse_number("--rounds", 0, UINT32_MAX, &number))
			return false;
		campaign->rounds = number;
		arguments->rounds_given = true;
		return true;
	case STRESS_FIRST:
		if (!parse_number("--first-round", 0, UINT32_MAX, &number))
			return false;
		campaign->first = number;
		return true;
	case STRESS_THREADS:
		if (!parse_number("--threads", 1, SCRIPT_RANDOM_THREADS_MAX, &number))
			return false;
		campaign->threads = (unsigned)number;
		return true;
	case STRESS_OPERATIONS:
		if (!parse_number("--operations", 0, 10000000, &number))
			return false;
		campaign->operations = number;
		return true;
	default:
		if (!parse_number("--hang-seconds", 1, SECONDS_MAX, &number))
			return false;
		campaign->hang_seconds = (double)number;
		return true;
	}
}

static bool take_option(int option, struct stress_arguments *arguments)
{
	struct campaign_options *campaign = &arguments->campaign;

	switch (option) {
	case STRESS_ENGINE:
		return parse_choice("--engine", optarg, engine_name, CAMPAIGN_ENGINES,
				    campaign->engines);
	case STRESS_RECORD:
		return parse_choice("--record", optarg, campaign_record_name, CAMPAIGN_RECORDS,
				    campaign->records);
	case STRESS_IMAGE:
		arguments->images[campaign->image_count++] = optarg;
		return true;
	case STRESS_PROFILE:
		return parse_profile(optarg, campaign);
	case STRESS_ARTIFACTS:
		campaign->artifacts = optarg;
		return true;
	case STRESS_NO_FAULTS:
		campaign->no_faults = true;
		return true;
	case STRESS_JSON:
		arguments->json = optarg;
		return true;
	case STRESS_QUIET:
		arguments->quiet = true;
		return true;
	default:
		return take_number(option, arguments);
	}
}

static bool parse(int argc, char **argv, struct stress_arguments *arguments)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, STRESS_SEED },
		{ "duration", required_argument, NULL, STRESS_DURATION },
		{ "rounds", required_argument, NULL, STRESS_ROUNDS },
		{ "first-round", required_argument, NULL, STRESS_FIRST },
		{ "threads", required_argument, NULL, STRESS_THREADS },
		{ "engine", required_argument, NULL, STRESS_ENGINE },
		{ "record", required_argument, NULL, STRESS_RECORD },
		{ "image", required_argument, NULL, STRESS_IMAGE },
		{ "profile", required_argument, NULL, STRESS_PROFILE },
		{ "operations", required_argument, NULL, STRESS_OPERATIONS },
		{ "artifacts", required_argument, NULL, STRESS_ARTIFACTS },
		{ "hang-seconds", required_argument, NULL, STRESS_HANG },
		{ "no-faults", no_argument, NULL, STRESS_NO_FAULTS },
		{ "json", required_argument, NULL, STRESS_JSON },
		{ "quiet", no_argument, NULL, STRESS_QUIET },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option < IMAGE_OPTION_FIRST)
			return image_option_refuse("stress", argv[optind - 1], option);
		if (!take_option(option, arguments))
			return false;
	}
	if (optind < argc) {
		cli_message("stress: '%s' is one too many; see refstorm help stress", argv[optind]);
		return false;
	}
	return true;
}

/* In quotes, as a shell takes it back. */
static void put_quoted(FILE *to, const char *text)
{
	fputs(" '", to);
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", to);
		else
			fputc(*text, to);
	}
	fputc('\'', to);
}

static const char *chosen(const bool *wanted, const char *(*name)(unsigned), unsigned count)
{
	const char *only = NULL;
	unsigned found = 0;
	unsigned at;

	for (at = 0; at < count; at++)
		if (wanted[at] && found++ == 0)
			only = name(at);
	return found == 1 ? only : "all";
}

static void put_images(FILE *to, const struct campaign_options *campaign)
{
	size_t at;

	for (at = 0; at < campaign->image_count; at++) {
		char *path = realpath(campaign->images[at], NULL);

		fputs(" --image", to);
		put_quoted(to, path ? path : campaign->images[at]);
		free(path);
	}
}

static void put_draw(FILE *to, const struct campaign_options *campaign)
{
	fprintf(to, " --threads %u --engine %s --record %s --hang-seconds %.0f", campaign->threads,
		chosen(campaign->engines, engine_name, CAMPAIGN_ENGINES),
		chosen(campaign->records, campaign_record_name, CAMPAIGN_RECORDS),
		campaign->hang_seconds);
	if (campaign->profile)
		fprintf(to, " --profile %s", campaign->profile);
	if (campaign->operations != UINT64_MAX)
		fprintf(to, " --operations %" PRIu64, campaign->operations);
	put_images(to, campaign);
}

/* False after a message. */
static bool make_texts(int argc, char **argv, struct stress_arguments *arguments)
{
	struct campaign_options *campaign = &arguments->campaign;
	ssize_t length =
		readlink("/proc/self/exe", arguments->program, sizeof(arguments->program) - 1);
	size_t bytes;
	FILE *to;
	int at;

	arguments->program[length < 0 ? 0 : length] = 0;
	to = open_memstream(&arguments->draw, &bytes);
	if (to) {
		put_draw(to, campaign);
		fclose(to);
	}
	to = open_memstream(&arguments->where, &bytes);
	if (to) {
		put_images(to, campaign);
		fclose(to);
	}
	to = open_memstream(&arguments->line, &bytes);
	if (to) {
		fputs("refstorm", to);
		for (at = 0; at < argc; at++)
			put_quoted(to, argv[at]);
		fclose(to);
	}
	if (!arguments->draw || !arguments->where || !arguments->line) {
		cli_message("stress: no memory");
		return false;
	}
	campaign->program = length < 0 ? "refstorm" : arguments->program;
	campaign->draw_arguments = arguments->draw;
	campaign->image_arguments = arguments->where;
	campaign->command = arguments->line;
	return true;
}

/* What a result is besides its exit code. False after a message. */
static bool report(const struct stress_arguments *arguments, const struct stress_output *output)
{
	const struct campaign_result *result = output->result;

	if (result->why[0])
		cli_message("%s%s%s", campaign_verdict_name(result->verdict), ": ", result->why);
	if (result->artifacts[0])
		cli_message("kept in %s; again: %s", result->artifacts, result->replay);
	if (!arguments->quiet && !cli_output_is_stdout(arguments->json))
		stress_output_print(stdout, output);
	return cli_output_write(arguments->json, stress_output_json, output);
}

static int run(int argc, char **argv, struct stress_arguments *arguments)
{
	struct campaign_options *campaign = &arguments->campaign;
	struct campaign_result result;
	struct stress_output output = {
		.options = campaign,
		.result = &result,
		.argc = argc,
		.argv = argv,
	};
	struct rs_error error = RS_ERROR_INIT;
	int code = CLI_EXIT_UNUSABLE;

	/* Before the rounds: what the machine was like, and where the commit is looked for. */
	output.run = run_record_make(argc, argv);
	campaign->commit = json_string_value(json_object_get(output.run, "commit"));
	cli_catch_interrupt();
	if (campaign_run(campaign, &result, &error))
		cli_error(&error);
	else if (report(arguments, &output) || result.verdict != CAMPAIGN_PASS)
		code = (int)result.verdict;
	json_decref(output.run);
	return code;
}

static int run_stress(int argc, char **argv)
{
	struct stress_arguments arguments = {
		.campaign = {
			.seed = clock_now_ns() % UINT32_MAX,
			.rounds = UINT64_MAX,
			.threads = THREADS_DEFAULT,
			.engines = { true, true, true },
			.records = { true, true, true },
			.operations = UINT64_MAX,
			.hang_seconds = campaign_hang_seconds(),
			.artifacts = ARTIFACTS_DEFAULT,
			.interrupted = cli_interrupted,
		},
	};
	int code = CLI_EXIT_UNUSABLE;

	/* No more images than arguments. */
	arguments.images = calloc((size_t)argc, sizeof(*arguments.images));
	arguments.campaign.images = arguments.images;
	if (!arguments.images) {
		cli_message("stress: no memory");
	} else if (parse(argc, argv, &arguments) && make_texts(argc, argv, &arguments)) {
		if (!arguments.seconds_given && !arguments.rounds_given)
			arguments.campaign.seconds = SECONDS_DEFAULT;
		arguments.campaign.live = !arguments.quiet && isatty(STDERR_FILENO);
		/* The command stands before its arguments. */
		code = run(argc + 1, argv - 1, &arguments);
	}
	free(arguments.draw);
	free(arguments.where);
	free(arguments.line);
	free(arguments.images);
	return code;
}

const struct cli_command cli_stress = {
	.name = "stress",
	.summary = "run random operations with faults, and check everything",
	.help = "usage: refstorm stress [OPTION]...\n"
		"\n"
		"Runs rounds of random operations on forests in memory, each round in a process of\n"
		"its own, checks every change of a reference as it happens, and counts everything\n"
		"again now and then. Ends with the first round in which something is wrong, and\n"
		"keeps what it takes to run that again. refstorm-stress(1) has all of it.\n"
		"\n"
		"  --seed N       of everything that is drawn; without it, by the clock\n"
		"  --duration S   no round begins after so many seconds (30, without --rounds)\n"
		"  --rounds N     at most so many rounds\n"
		"  --first-round N\n"
		"                 begin with round N instead of 0; rounds depend on nothing before them\n"
		"  --threads N    up to so many threads in a round, 64 at most (4)\n"
		"  --engine E     off, ledger, extent or all (the default)\n"
		"  --record R     percpu, locked, hashed or all (the default)\n"
		"  --image IMG    begin with the btrfs file system in IMG instead of an empty one;\n"
		"                 given once for each of its devices, which are not written to\n"
		"  --profile P    mixed, overwrite, snapshots, clones, files, quota, or swarm for\n"
		"                 weights drawn for each round; without it, all of them by turns\n"
		"  --operations N of each round, instead of 200 to 2,000\n"
		"  --artifacts DIR\n"
		"                 where what fails is kept (stress-artifacts)\n"
		"  --hang-seconds S\n"
		"                 without progress for so long a round hangs (60; 180 in builds with\n"
		"                 a sanitizer)\n"
		"  --no-faults    no allocation fails, and nothing is stalled\n"
		"  --json F       write the result to F as JSON; - is standard output\n"
		"  --quiet        no summary, and no line on how it goes\n"
		"\n"
		"Exit status: 0 nothing wrong; 1 an oracle has found something; 2 wrong arguments or\n"
		"input; 3 a hang; 4 a crash; 5 a leak; 6 too little was done or checked;\n"
		"130 interrupted.\n",
	.run = run_stress,
};
