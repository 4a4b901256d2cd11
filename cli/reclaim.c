// SPDX-License-Identifier: MIT
/* refstorm reclaim: what deleting subvolumes of an image would free. */
#include <getopt.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/image_source.h"
#include "cli/progress.h"
#include "cli/reclaim_output.h"

struct reclaim_arguments {
	struct rs_reclaim_options options;
	const char *json;
	bool raw;
	struct image_source source;
	char **names;
	size_t name_count;
};

/* One run, from reading to printing. */
struct reclaim_job {
	const struct reclaim_arguments *arguments;
	struct rs_reclaim_report *report;
};

static bool parse_best(const char *text, uint32_t *best)
{
	unsigned long long number;

	if (!cli_number("--best", text, UINT32_MAX, &number))
		return false;
	if (!number) {
		cli_message("--best: at least one subvolume is needed");
		return false;
	}
	*best = (uint32_t)number;
	return true;
}

/* The options, up to the end of `argv`; what is no option is an image. */
static bool parse_options(int argc, char **argv, struct reclaim_arguments *arguments)
{
	enum {
		EACH = IMAGE_OPTION_FIRST,
		BEST,
		THREADS,
		JSON,
		RAW,
		FORCE,
		LIVE
	};
	static const struct option options[] = {
		{ "each", no_argument, NULL, EACH },
		{ "best", required_argument, NULL, BEST },
		{ "threads", required_argument, NULL, THREADS },
		{ "json", required_argument, NULL, JSON },
		{ "raw", no_argument, NULL, RAW },
		{ "force", no_argument, NULL, FORCE },
		{ "live", required_argument, NULL, LIVE },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (option) {
		case EACH:
			arguments->options.each = true;
			break;
		case BEST:
			if (!parse_best(optarg, &arguments->options.best))
				return false;
			break;
		case THREADS:
			if (!image_option_threads(optarg, &arguments->options.threads))
				return false;
			break;
		case JSON:
			arguments->json = optarg;
			break;
		case RAW:
			arguments->raw = true;
			break;
		case FORCE:
			arguments->source.force = true;
			break;
		case LIVE:
			arguments->source.live = optarg;
			break;
		default:
			return image_option_refuse("reclaim", argv[optind - 1], option);
		}
	}
	arguments->source.paths = argv + optind;
	arguments->source.path_count = (size_t)(argc - optind);
	return true;
}

/* Cut at "--" first: getopt_long moves it in front of the images. */
static bool parse(int argc, char **argv, struct reclaim_arguments *arguments)
{
	int end = 0;

	while (end < argc && strcmp(argv[end], "--"))
		end++;
	if (end < argc) {
		argv[end] = NULL;
		arguments->names = argv + end + 1;
		arguments->name_count = (size_t)(argc - end - 1);
	}
	if (!parse_options(end, argv, arguments))
		return false;
	if (!arguments->name_count && !arguments->options.each && !arguments->options.best) {
		cli_message("reclaim: no subvolume given behind '--', and neither --each nor "
			    "--best; see refstorm help reclaim");
		return false;
	}
	return true;
}

static int compute(void *argument, struct rs_image *image, struct rs_error *error)
{
	struct reclaim_job *job = argument;
	const struct reclaim_arguments *arguments = job->arguments;
	struct rs_reclaim_options options = arguments->options;
	struct progress progress;
	int ret;

	progress_begin(&progress, false);
	options.progress = progress_show;
	options.argument = &progress;
	ret = rs_reclaim(image, (const char *const *)arguments->names, arguments->name_count,
			 &options, &job->report, error);
	progress_end(&progress);
	return ret;
}

static int show(void *argument, struct rs_image *image)
{
	const struct reclaim_job *job = argument;
	const struct reclaim_arguments *arguments = job->arguments;

	(void)image;
	if (!cli_output_is_stdout(arguments->json))
		reclaim_print_table(stdout, job->report, arguments->options.each, arguments->raw);
	return cli_output_write(arguments->json, reclaim_write_json, job->report) ?
		       CLI_EXIT_OK :
		       CLI_EXIT_UNUSABLE;
}

static void forget(void *argument)
{
	struct reclaim_job *job = argument;

	rs_reclaim_report_free(job->report);
	job->report = NULL;
}

static int run_reclaim(int argc, char **argv)
{
	struct reclaim_arguments arguments = { 0 };
	struct reclaim_job reclaim = { .arguments = &arguments };
	const struct image_job job = {
		.argument = &reclaim,
		.compute = compute,
		.show = show,
		.forget = forget,
	};

	if (!parse(argc, argv, &arguments))
		return CLI_EXIT_UNUSABLE;
	return image_source_run(&arguments.source, "reclaim", &job);
}

const struct cli_command cli_reclaim = {
	.name = "reclaim",
	.summary = "tell what deleting subvolumes of a btrfs image would free",
	.help = "usage: refstorm reclaim [OPTION]... IMAGE... -- SUBVOL...\n"
		"       refstorm reclaim --each|--best N [OPTION]... IMAGE...\n"
		"       refstorm reclaim [OPTION]... --live DIR [-- SUBVOL...]\n"
		"\n"
		"Reads the trees of the btrfs file system in the files or block devices IMAGE...,\n"
		"and counts the bytes that deleting the subvolumes and snapshots SUBVOL..., all of\n"
		"them, would free. Nothing is written to IMAGE.\n"
		"\n"
		"SUBVOL is an id (257), a group with all subvolumes at or below it (1/100; 0/257 is\n"
		"subvolume 257), or a path from the top level (snapshots/monday, or /257).\n"
		"\n"
		"  --each       tell what each of them alone would free; with no SUBVOL, of all\n"
		"  --best N     list the N snapshots (or, of SUBVOL...) whose deletion frees most,\n"
		"               each after those before it\n"
		"  --threads N  use N threads instead of one for each CPU\n"
		"  --json F     write the report as JSON to the file F, or - for standard output\n"
		"  --raw        print sizes in bytes\n"
		"  --force      read a file system that is mounted read-write\n"
		"  --live DIR   read the mounted file system that DIR lies on, as its last commit\n"
		"               left it\n"
		"\n"
		"Exit status: 0 counted; 2 wrong arguments, a SUBVOL that is not there, or an image\n"
		"that cannot be used; 130 interrupted.\n",
	.run = run_reclaim,
};
