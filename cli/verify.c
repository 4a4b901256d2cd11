// SPDX-License-Identifier: MIT
/* refstorm verify: the accounts of an image, computed and stored, side by side. */
#include <getopt.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/image_source.h"
#include "cli/progress.h"
#include "cli/verify_output.h"

struct verify_arguments {
	struct rs_verify_options options;
	const char *json;
	const char *csv;
	bool no_refs;
	bool raw;
	struct image_source source;
};

/* One run, from reading to printing. */
struct verify_job {
	const struct verify_arguments *arguments;
	struct rs_verify_report *report;
	struct backref_report refs;
};

static bool parse(int argc, char **argv, struct verify_arguments *arguments)
{
	enum {
		THREADS = IMAGE_OPTION_FIRST,
		JSON,
		CSV,
		NO_REFS,
		RAW,
		QUIET,
		FORCE,
		LIVE
	};
	static const struct option options[] = {
		{ "threads", required_argument, NULL, THREADS },
		{ "json", required_argument, NULL, JSON },
		{ "csv", required_argument, NULL, CSV },
		{ "no-refs", no_argument, NULL, NO_REFS },
		{ "raw", no_argument, NULL, RAW },
		{ "quiet", no_argument, NULL, QUIET },
		{ "force", no_argument, NULL, FORCE },
		{ "live", required_argument, NULL, LIVE },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (option) {
		case THREADS:
			if (!image_option_threads(optarg, &arguments->options.threads))
				return false;
			break;
		case JSON:
			arguments->json = optarg;
			break;
		case CSV:
			arguments->csv = optarg;
			break;
		case NO_REFS:
			arguments->no_refs = true;
			break;
		case RAW:
			arguments->raw = true;
			break;
		case QUIET:
			arguments->source.quiet = true;
			break;
		case FORCE:
			arguments->source.force = true;
			break;
		case LIVE:
			arguments->source.live = optarg;
			break;
		default:
			return image_option_refuse("verify", argv[optind - 1], option);
		}
	}
	arguments->source.paths = argv + optind;
	arguments->source.path_count = (size_t)(argc - optind);
	return true;
}

static int compute(void *argument, struct rs_image *image, struct rs_error *error)
{
	struct verify_job *job = argument;
	const struct verify_arguments *arguments = job->arguments;
	struct rs_verify_options options = arguments->options;
	struct backref_options backref = { .threads = options.threads };
	struct progress progress;
	int ret;

	progress_begin(&progress, arguments->source.quiet);
	options.progress = progress_show;
	options.argument = &progress;
	ret = rs_verify(image, &options, &job->report, error);
	if (!ret && !arguments->no_refs) {
		backref.progress = progress_show;
		backref.argument = &progress;
		ret = backref_check(image, &backref, &job->refs, error);
	}
	progress_end(&progress);
	return ret;
}

static int show(void *argument, struct rs_image *image)
{
	const struct verify_job *job = argument;
	const struct verify_arguments *arguments = job->arguments;
	bool taken = cli_output_is_stdout(arguments->json) || cli_output_is_stdout(arguments->csv);
	const struct verify_run run = {
		.report = job->report,
		.refs = arguments->no_refs ? NULL : &job->refs,
		.image = image,
	};

	if (!arguments->source.quiet && !taken)
		verify_print_table(stdout, &run, arguments->raw);
	if (!cli_output_write(arguments->json, verify_write_json, &run) ||
	    !cli_output_write(arguments->csv, verify_write_csv, &run))
		return CLI_EXIT_UNUSABLE;
	return job->report->mismatches || job->refs.error_count ? CLI_EXIT_WRONG : CLI_EXIT_OK;
}

static void forget(void *argument)
{
	struct verify_job *job = argument;

	rs_verify_report_free(job->report);
	backref_report_destroy(&job->refs);
	job->report = NULL;
	job->refs = (struct backref_report){ 0 };
}

static int run_verify(int argc, char **argv)
{
	struct verify_arguments arguments = { 0 };
	struct verify_job verify = { .arguments = &arguments };
	const struct image_job job = {
		.argument = &verify,
		.compute = compute,
		.show = show,
		.forget = forget,
	};

	if (!parse(argc, argv, &arguments))
		return CLI_EXIT_UNUSABLE;
	if (arguments.json && arguments.csv && !strcmp(arguments.json, arguments.csv)) {
		cli_message("--json and --csv cannot both go to '%s'", arguments.json);
		return CLI_EXIT_UNUSABLE;
	}
	return image_source_run(&arguments.source, "verify", &job);
}

const struct cli_command cli_verify = {
	.name = "verify",
	.summary = "compute the quota groups of a btrfs image and compare what is stored",
	.help = "usage: refstorm verify [OPTION]... IMAGE...\n"
		"       refstorm verify [OPTION]... --live DIR\n"
		"\n"
		"Reads the trees of the btrfs file system in the files or block devices IMAGE...,\n"
		"computes for every quota group the referenced and exclusive bytes, and compares\n"
		"them with those that the kernel stored; then checks all back references. Nothing\n"
		"is written to IMAGE.\n"
		"\n"
		"  --threads N  use N threads instead of one for each CPU\n"
		"  --json F     write the report as JSON to the file F, or - for standard output\n"
		"  --csv F      write the groups as CSV to the file F, or - for standard output\n"
		"  --no-refs    do not check back references\n"
		"  --raw        print sizes in bytes\n"
		"  --quiet      print no table\n"
		"  --force      read a file system that is mounted read-write\n"
		"  --live DIR   read the mounted file system that DIR lies on, as its last commit\n"
		"               left it\n"
		"\n"
		"Exit status: 0 all groups are as stored, or their stored numbers are not meant to\n"
		"hold, and all back references are right; 1 something differs; 2 wrong arguments,\n"
		"or an image that cannot be used; 130 interrupted.\n",
	.run = run_verify,
};
