/* SPDX-License-Identifier: MIT */
/* refstorm mutants: every planted bug is caught by the test that must catch it, and how soon. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/sweep/run_record.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/mutants_build.h"
#include "cli/mutants_output.h"
#include "core/base/alloc.h"

#define BUILDS_MAX 8
#define REPEAT_MAX 1000
#define JOBS_MAX 256
#define TIMEOUT_S_MAX 86400
/* Over what counts as slow, so that a slow one is told from one that hangs. */
#define TIMEOUT_S_NORMAL 120

static const char *const presets[] = { "plants", "plants-tsan" };

#define PRESET_COUNT (sizeof(presets) / sizeof(presets[0]))

struct mutants_arguments {
	const char *paths[BUILDS_MAX];
	size_t path_count;
	char *found[PRESET_COUNT]; /* paths of the checkout's own builds */
	const char *only_text;
	regex_t only;
	const char *json;
	struct mutants_options options;
};

struct mutants_job {
	struct mutants_build_source sources[BUILDS_MAX];
	struct mutants_build builds[BUILDS_MAX];
	struct mutants mutants;
	json_t *run;
};

static bool parse_unsigned(const char *option, const char *text, unsigned most, unsigned *value)
{
	unsigned long long number;

	if (!cli_number(option, text, most, &number))
		return false;
	if (!number)
		cli_message("%s: must be at least 1", option);
	*value = (unsigned)number;
	return number > 0;
}

static bool parse_only(const char *text, struct mutants_arguments *arguments)
{
	char what[128];
	int error;

	if (arguments->only_text) {
		cli_message("--only is given twice");
		return false;
	}
	error = regcomp(&arguments->only, text, REG_EXTENDED | REG_NOSUB);
	if (error) {
		regerror(error, &arguments->only, what, sizeof(what));
		cli_message("--only: '%s': %s", text, what);
		return false;
	}
	arguments->only_text = text;
	arguments->options.only = &arguments->only;
	return true;
}

static bool parse_build(const char *text, struct mutants_arguments *arguments)
{
	if (arguments->path_count == BUILDS_MAX) {
		cli_message("--build: at most %d builds", BUILDS_MAX);
		return false;
	}
	arguments->paths[arguments->path_count++] = text;
	return true;
}

enum {
	BUILD = IMAGE_OPTION_FIRST,
	ONLY,
	JSON,
	REPEAT,
	JOBS,
	TIMEOUT
};

static bool parse_option(int option, struct mutants_arguments *arguments)
{
	unsigned timeout_s;

	switch (option) {
	case BUILD:
		return parse_build(optarg, arguments);
	case ONLY:
		return parse_only(optarg, arguments);
	case REPEAT:
		return parse_unsigned("--repeat", optarg, REPEAT_MAX, &arguments->options.repeat);
	case JOBS:
		return parse_unsigned("--jobs", optarg, JOBS_MAX, &arguments->options.jobs);
	case TIMEOUT:
		if (!parse_unsigned("--timeout", optarg, TIMEOUT_S_MAX, &timeout_s))
			return false;
		arguments->options.timeout_s = timeout_s;
		return true;
	default:
		arguments->json = optarg;
		return true;
	}
}

static bool parse(int argc, char **argv, struct mutants_arguments *arguments)
{
	static const struct option options[] = {
		{ "build", required_argument, NULL, BUILD },
		{ "only", required_argument, NULL, ONLY },
		{ "json", required_argument, NULL, JSON },
		{ "repeat", required_argument, NULL, REPEAT },
		{ "jobs", required_argument, NULL, JOBS },
		{ "timeout", required_argument, NULL, TIMEOUT },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option < IMAGE_OPTION_FIRST)
			return image_option_refuse("mutants", argv[optind - 1], option);
		if (!parse_option(option, arguments))
			return false;
	}
	if (optind < argc)
		cli_message("mutants: '%s' is no option; see refstorm help mutants", argv[optind]);
	return optind == argc;
}

/* The checkout that the working directory lies in, into `folder`. */
static bool find_checkout(char folder[PATH_MAX])
{
	char file[PATH_MAX + 32];
	char *slash;

	if (!getcwd(folder, PATH_MAX))
		return false;
	for (;;) {
		snprintf(file, sizeof(file), "%s/CMakePresets.json", folder);
		if (!access(file, F_OK))
			return true;
		slash = strrchr(folder, '/');
		if (!slash || !folder[0])
			return false;
		*slash = 0;
	}
}

static bool find_builds(struct mutants_arguments *arguments)
{
	char folder[PATH_MAX];
	size_t at;

	if (!find_checkout(folder)) {
		cli_message("mutants: not in a checkout (no CMakePresets.json here or above); give "
			    "the builds with --build");
		return false;
	}
	for (at = 0; at < PRESET_COUNT; at++) {
		if (asprintf(&arguments->found[at], "%s/build/%s", folder, presets[at]) < 0) {
			arguments->found[at] = NULL;
			cli_message("mutants: no memory");
			return false;
		}
		if (access(arguments->found[at], F_OK)) {
			cli_message("%s is not there: make it with cmake --preset %s and cmake "
				    "--build --preset %s, or give builds with --build",
				    arguments->found[at], presets[at], presets[at]);
			return false;
		}
		arguments->paths[arguments->path_count++] = arguments->found[at];
	}
	return true;
}

/* On a terminal, a line for each run. */
static void show_run(const struct mutants_check *check, const struct mutant *mutant, size_t done,
		     size_t of)
{
	const struct child_end *end = mutant ? &mutant->end : &check->unarmed;
	char how[MUTANTS_TEXT_BYTES];

	if (isatty(STDERR_FILENO))
		fprintf(stderr, "[%zu/%zu] %s, %s%s%s armed: %s, %.1f s\n", done, of, check->name,
			mutant ? mutant->plant->name : "nothing", mutant ? " in " : "",
			mutant ? mutant->build->preset : "", mutants_end_text(how, end),
			end->seconds);
}

static int judge(const struct mutants *mutants, const struct mutants_summary *summary)
{
	if (mutants->interrupted)
		return CLI_EXIT_INTERRUPTED;
	if (summary->no_control)
		return CLI_EXIT_UNUSABLE;
	if (!summary->run)
		return CLI_EXIT_NOTHING;
	return summary->caught < mutants->count || summary->slow ? CLI_EXIT_WRONG : CLI_EXIT_OK;
}

static int show(const struct mutants_arguments *arguments, const struct mutants_job *job)
{
	const struct mutants *mutants = &job->mutants;
	struct mutants_summary summary;
	const struct mutants_report report = { mutants, &summary, job->run };
	int code;

	mutants_sum(mutants, &summary);
	code = judge(mutants, &summary);
	if (code != CLI_EXIT_OK)
		mutants_print_failures(stderr, mutants, job->builds, arguments->path_count);
	if (!cli_output_is_stdout(arguments->json))
		mutants_print(stdout, mutants, &summary);
	if (!cli_output_write(arguments->json, mutants_write_json, &report))
		return code == CLI_EXIT_OK ? CLI_EXIT_UNUSABLE : code;
	if (code == CLI_EXIT_NOTHING)
		cli_message("mutants: nothing was run: no build given can tell these bugs");
	if (summary.no_control)
		cli_message("mutants: tests fail with no bug armed, so they show nothing");
	return code;
}

static int run_job(const struct mutants_arguments *arguments, struct mutants_job *job)
{
	struct rs_error error = RS_ERROR_INIT;
	size_t at;

	for (at = 0; at < arguments->path_count; at++)
		if (!mutants_build_open(arguments->paths[at], &job->sources[at], &job->builds[at]))
			return CLI_EXIT_UNUSABLE;
	if (mutants_create(&job->mutants, job->builds, arguments->path_count, &arguments->options,
			   &error)) {
		cli_error(&error);
		return CLI_EXIT_UNUSABLE;
	}
	cli_catch_interrupt();
	if (job->mutants.count && mutants_run(&job->mutants, &arguments->options, &error)) {
		cli_error(&error);
		return CLI_EXIT_UNUSABLE;
	}
	return show(arguments, job);
}

static int run_mutants(int argc, char **argv)
{
	struct mutants_arguments arguments = {
		.options = { .repeat = 1,
			     .jobs = 1,
			     .timeout_s = TIMEOUT_S_NORMAL,
			     .stopped = cli_interrupted,
			     .ended = show_run },
	};
	struct mutants_job *job = alloc_zeroed(1, sizeof(*job));
	int code = CLI_EXIT_UNUSABLE;
	size_t at;

	if (!job) {
		cli_message("mutants: no memory");
		return CLI_EXIT_UNUSABLE;
	}
	job->run = run_record_make(argc, argv);
	if (!job->run)
		cli_message("mutants: no memory");
	else if (parse(argc, argv, &arguments) && (arguments.path_count || find_builds(&arguments)))
		code = run_job(&arguments, job);
	mutants_destroy(&job->mutants);
	for (at = 0; at < arguments.path_count; at++)
		mutants_build_close(&job->sources[at], &job->builds[at]);
	for (at = 0; at < PRESET_COUNT; at++)
		free(arguments.found[at]);
	if (arguments.only_text)
		regfree(&arguments.only);
	json_decref(job->run);
	alloc_free(job);
	return code;
}

const struct cli_command cli_mutants = {
	.name = "mutants",
	.summary = "run every planted bug against the test that must catch it",
	.help = "usage: refstorm mutants [--build DIR]... [--only REGEX] [--json F] [--repeat N]\n"
		"                        [--jobs N] [--timeout S]\n"
		"\n"
		"Arms each planted bug in turn, runs the test that must catch it, and lists how long\n"
		"each took to be caught. A bug is caught if the test fails, the bug was reached, and\n"
		"the same test passes with no bug armed: each test is run like that first.\n"
		"\n"
		"  --build DIR  a build of the preset plants or plants-tsan; may be given again.\n"
		"               Without it both of the checkout that the working directory lies in:\n"
		"               build/plants and build/plants-tsan\n"
		"  --only R     only bugs whose name matches the extended regular expression R\n"
		"  --json F     write the result as JSON to the file F, or - for standard output\n"
		"  --repeat N   run each bug N times; its time is the median, and all must catch it\n"
		"  --jobs N     run N tests at a time instead of one\n"
		"  --timeout S  a bug that is not caught within S seconds is not caught (120)\n"
		"\n"
		"Exit status: 0 all caught, each within 60 seconds; 1 not so; 2 wrong arguments, a\n"
		"build without planted bugs or without a test, or a test that fails with no bug\n"
		"armed; 6 nothing was run; 130 interrupted.\n",
	.run = run_mutants,
};
