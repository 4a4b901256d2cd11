// SPDX-License-Identifier: MIT
/* refstorm verify: the accounts of an image, computed and stored, side by side. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/verify_output.h"

#define THREADS_MAX 1024
#define OPTION_FIRST 256 /* of the options that have no letter */

struct verify_arguments {
	struct rs_verify_options options;
	const char *json;
	const char *csv;
	bool no_refs; /* references are not checked yet: nothing to leave out */
	bool raw;
	bool quiet;
	bool force;
	char **paths;
	size_t path_count;
};

/* The bar on a terminal. */
struct progress {
	bool visible;
	bool drawn;
};

/* What getopt_long did not like: a letter, a name, or a value that is not wanted. */
static void refuse_option(const char *text)
{
	if (optopt >= OPTION_FIRST)
		cli_message("option '%.*s' takes no value", (int)strcspn(text, "="), text);
	else if (optopt)
		cli_message("unknown option '-%c'; see refstorm help verify", optopt);
	else
		cli_message("unknown option '%s'; see refstorm help verify", text);
}

static bool parse(int argc, char **argv, struct verify_arguments *arguments)
{
	enum {
		THREADS = OPTION_FIRST,
		JSON,
		CSV,
		NO_REFS,
		RAW,
		QUIET,
		FORCE
	};
	static const struct option options[] = {
		{ "threads", required_argument, NULL, THREADS },
		{ "json", required_argument, NULL, JSON },
		{ "csv", required_argument, NULL, CSV },
		{ "no-refs", no_argument, NULL, NO_REFS },
		{ "raw", no_argument, NULL, RAW },
		{ "quiet", no_argument, NULL, QUIET },
		{ "force", no_argument, NULL, FORCE },
		{ NULL, 0, NULL, 0 },
	};
	unsigned long long number;
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (option) {
		case THREADS:
			if (!cli_number("--threads", optarg, THREADS_MAX, &number))
				return false;
			if (!number) {
				cli_message("--threads: at least one thread is needed");
				return false;
			}
			arguments->options.threads = (unsigned)number;
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
			arguments->quiet = true;
			break;
		case FORCE:
			arguments->force = true;
			break;
		case ':':
			cli_message("option '%s' needs a value", argv[optind - 1]);
			return false;
		default:
			refuse_option(argv[optind - 1]);
			return false;
		}
	}
	arguments->paths = argv + optind;
	arguments->path_count = (size_t)(argc - optind);
	return true;
}

static bool check_arguments(const struct verify_arguments *arguments)
{
	if (!arguments->path_count) {
		cli_message("verify: no image given; see refstorm help verify");
		return false;
	}
	if (arguments->json && arguments->csv && !strcmp(arguments->json, arguments->csv)) {
		cli_message("--json and --csv cannot both go to '%s'", arguments->json);
		return false;
	}
	return true;
}

/* A file system that is mounted read-write changes while it is read. */
static bool check_mounts(const struct verify_arguments *arguments)
{
	char where[4096];
	size_t at;

	for (at = 0; !arguments->force && at < arguments->path_count; at++) {
		int mounted = rs_device_mounted(arguments->paths[at], where, sizeof(where));

		if (mounted == 1)
			cli_message("%s: mounted read-write on %s and may change while it is read; "
				    "unmount it, or use --force",
				    arguments->paths[at], where);
		else if (mounted == -EBUSY)
			cli_message("%s: in use by a mount that cannot be seen from here, and may "
				    "change while it is read; use --force to read it all the same",
				    arguments->paths[at]);
		else
			continue;
		return false;
	}
	return true;
}

static bool on_progress(void *argument, uint64_t blocks, uint64_t known)
{
	struct progress *progress = argument;
	static const char bar[] = "########################################";
	int width = (int)sizeof(bar) - 1;
	int done = known ? (int)((double)blocks / (double)known * width) : 0;

	if (progress->visible) {
		fprintf(stderr, "\r[%-*.*s] %" PRIu64 " of %" PRIu64 " tree blocks", width, done,
			bar, blocks, known);
		progress->drawn = true;
	}
	return !cli_interrupted();
}

static void clear_progress(const struct progress *progress)
{
	if (progress->drawn)
		fputs("\r\033[K", stderr);
}

static bool goes_to_stdout(const char *path)
{
	return path && !strcmp(path, "-");
}

static bool write_file(const char *path, const struct verify_run *run,
		       bool (*write)(FILE *to, const struct verify_run *run))
{
	struct cli_output output;
	bool good;

	if (!path)
		return true;
	if (!cli_output_open(&output, path))
		return false;
	good = write(output.file, run);
	if (!good)
		cli_message("%s: cannot write the report", path);
	return cli_output_close(&output, good) && good;
}

static int write_report(const struct verify_arguments *arguments, const struct verify_run *run)
{
	bool taken = goes_to_stdout(arguments->json) || goes_to_stdout(arguments->csv);

	if (!arguments->quiet && !taken)
		verify_print_table(stdout, run, arguments->raw);
	if (!write_file(arguments->json, run, verify_write_json) ||
	    !write_file(arguments->csv, run, verify_write_csv))
		return CLI_EXIT_UNUSABLE;
	return run->report->mismatches ? CLI_EXIT_WRONG : CLI_EXIT_OK;
}

static int verify_image(const struct verify_arguments *arguments, struct rs_image *image)
{
	struct progress progress = { .visible = isatty(STDERR_FILENO) && !arguments->quiet };
	struct rs_verify_options options = arguments->options;
	struct verify_run run = {
		.image = image,
		.paths = arguments->paths,
		.path_count = arguments->path_count,
	};
	struct rs_error error = RS_ERROR_INIT;
	struct rs_verify_report *report;
	size_t at;
	int ret;

	options.progress = on_progress;
	options.argument = &progress;
	ret = rs_verify(image, &options, &report, &error);
	clear_progress(&progress);
	for (at = 0; at < rs_image_warning_count(image); at++)
		cli_message("%s: warning: %s", arguments->paths[0], rs_image_warning(image, at));
	if (ret && ret != -ECANCELED) {
		cli_error(&error);
		return CLI_EXIT_UNUSABLE;
	}
	/* Also where the signal came behind the last call of on_progress. */
	if (ret || cli_interrupted()) {
		cli_message("interrupted: nothing was verified");
		rs_verify_report_free(report);
		return CLI_EXIT_INTERRUPTED;
	}
	run.report = report;
	ret = write_report(arguments, &run);
	rs_verify_report_free(report);
	return ret;
}

static int run_verify(int argc, char **argv)
{
	struct verify_arguments arguments = { 0 };
	struct rs_error error = RS_ERROR_INIT;
	struct rs_image *image;
	int code;

	if (!parse(argc, argv, &arguments) || !check_arguments(&arguments) ||
	    !check_mounts(&arguments))
		return CLI_EXIT_UNUSABLE;
	cli_catch_interrupt();
	if (rs_image_open((const char *const *)arguments.paths, arguments.path_count, &image,
			  &error)) {
		cli_error(&error);
		return CLI_EXIT_UNUSABLE;
	}
	code = verify_image(&arguments, image);
	rs_image_close(image);
	return code;
}

const struct cli_command cli_verify = {
	.name = "verify",
	.summary = "compute the quota groups of a btrfs image and compare what is stored",
	.help = "usage: refstorm verify [OPTION]... IMAGE...\n"
		"\n"
		"Reads the trees of the btrfs file system in the files or block devices IMAGE...,\n"
		"computes for every quota group the referenced and exclusive bytes, and compares\n"
		"them with those that the kernel stored. Nothing is written to IMAGE.\n"
		"\n"
		"  --threads N  use N threads instead of one for each CPU\n"
		"  --json F     write the report as JSON to the file F, or - for standard output\n"
		"  --csv F      write the groups as CSV to the file F, or - for standard output\n"
		"  --no-refs    do not check back references\n"
		"  --raw        print sizes in bytes\n"
		"  --quiet      print no table\n"
		"  --force      read a file system that is mounted read-write\n"
		"\n"
		"Exit status: 0 all groups are as stored, or their stored numbers are not meant to\n"
		"hold; 1 some differ; 2 wrong arguments, or an image that cannot be used; 130\n"
		"interrupted.\n",
	.run = run_verify,
};
