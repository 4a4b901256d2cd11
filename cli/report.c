// SPDX-License-Identifier: MIT
/* refstorm report: one page of all results of a folder. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/report.h"
#include "cli/cli.h"
#include "core/base/alloc.h"

struct report_arguments {
	const char *folder;
	const char *out; /* NULL: in the folder */
};

static bool parse(int argc, char **argv, struct report_arguments *arguments)
{
	enum {
		OUT = 256
	};
	static const struct option options[] = {
		{ "out", required_argument, NULL, OUT },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option == OUT) {
			arguments->out = optarg;
			continue;
		}
		cli_message("report: %s '%s'; see refstorm help report",
			    option == ':' ? "no value behind" : "there is no option",
			    argv[optind - 1]);
		return false;
	}
	if (argc - optind != 1) {
		cli_message("report: one folder of results is needed; see refstorm help report");
		return false;
	}
	arguments->folder = argv[optind];
	return true;
}

/* FOLDER/report.html; NULL: no memory. */
static char *default_place(const char *folder)
{
	size_t length = strlen(folder) + sizeof("/report.html");
	char *path = alloc_array(length, 1);

	if (path)
		snprintf(path, length, "%s/report.html", folder);
	return path;
}

static int write_page(const struct input *input, const char *path)
{
	char fault[RS_ERROR_WHAT_MAX];
	struct cli_output output;
	int ret;

	if (!cli_output_open(&output, path))
		return CLI_EXIT_UNUSABLE;
	ret = report_write(output.file, input, fault);
	if (ret == -ENOMEM)
		cli_message("%s: no memory for the report", path);
	/* What else went wrong is found, and told, as it is closed. */
	if (!cli_output_close(&output, ret != -ENOMEM) || ret)
		return CLI_EXIT_UNUSABLE;
	if (fault[0])
		cli_message("%s: plots are missing, their tables are there: %s", path, fault);
	if (!cli_output_is_stdout(path))
		puts(path);
	return CLI_EXIT_OK;
}

static int report(const struct input *input, const struct report_arguments *arguments)
{
	char *place = NULL;
	size_t at;
	int code;

	for (at = 0; at < input->refused_count; at++)
		cli_message("%s/%s: left out: %s", arguments->folder, input->refused[at].name,
			    input->refused[at].why);
	if (!input_is_usable(input)) {
		cli_message("%s: there is no result to report; results are bench-*.json, "
			    "stress-*.json, profile-*.json and verify-*.json",
			    arguments->folder);
		return CLI_EXIT_UNUSABLE;
	}
	if (!arguments->out) {
		place = default_place(arguments->folder);
		if (!place) {
			cli_message("%s: no memory", arguments->folder);
			return CLI_EXIT_UNUSABLE;
		}
	}
	if (!cli_output_is_stdout(arguments->out))
		report_headlines(stdout, input);
	code = write_page(input, place ? place : arguments->out);
	alloc_free(place);
	return code;
}

static int run_report(int argc, char **argv)
{
	struct report_arguments arguments = { 0 };
	struct rs_error error = RS_ERROR_INIT;
	struct input input;
	int code;

	if (!parse(argc, argv, &arguments))
		return CLI_EXIT_UNUSABLE;
	if (input_read(&input, arguments.folder, &error)) {
		cli_error(&error);
		code = CLI_EXIT_UNUSABLE;
	} else {
		code = report(&input, &arguments);
	}
	input_free(&input);
	return code;
}

const struct cli_command cli_report = {
	.name = "report",
	.summary = "make one page of the results in a folder",
	.help = "usage: refstorm report [--out FILE] DIR\n"
		"\n"
		"Reads the results in DIR, bench-<time>.json (all of them) and the newest of stress-*.json,\n"
		"profile-*.json and verify-*.json, and writes one page that needs nothing else:\n"
		"DIR/report.html. Files that cannot be used are named and left out. Plots are made\n"
		"with gnuplot; without it the page has its tables only.\n"
		"\n"
		"  --out FILE   write the page to FILE, or to standard output if it is -\n"
		"\n"
		"exit: 0 the page is written, 2 wrong arguments or nothing that can be shown\n",
	.run = run_report,
};
