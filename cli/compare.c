// SPDX-License-Identifier: MIT
/* refstorm compare: what two results of refstorm bench differ in. */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/statistics/compare.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/text.h"

struct compare_arguments {
	struct compare_options options;
	char *metric_names; /* what `options` points into */
	const char *json;
	bool quiet;
	const char *paths[2];
};

/* A number from 0 to below `limit`. */
static bool parse_number(const char *option, const char *text, double limit, double *number)
{
	char *end;

	*number = strtod(text, &end);
	if (end == text || *end || !(*number >= 0) || *number >= limit) {
		cli_message("%s: '%s' is no number from 0 to below %g", option, text, limit);
		return false;
	}
	return true;
}

static bool parse_metrics(struct compare_arguments *arguments, const char *text)
{
	struct compare_options *options = &arguments->options;
	char *name;
	char *next;

	free(arguments->metric_names);
	arguments->metric_names = next = strdup(text);
	options->metric_count = 0;
	while ((name = strsep(&next, ",")) != NULL) {
		if (!*name || options->metric_count == COMPARE_METRICS_MAX) {
			cli_message("--metric: '%s' is no list of 1 to %d names", text,
				    COMPARE_METRICS_MAX);
			return false;
		}
		options->metrics[options->metric_count++] = name;
	}
	if (!arguments->metric_names)
		cli_message("no memory");
	return arguments->metric_names != NULL;
}

static bool parse_option(struct compare_arguments *arguments, int option)
{
	struct compare_options *options = &arguments->options;

	switch (option) {
	case 'm':
		return parse_metrics(arguments, optarg);
	case 't':
		if (!parse_number("--threshold", optarg, 1000, &options->threshold))
			return false;
		options->threshold /= 100;
		return true;
	case 'a':
		if (!parse_number("--alpha", optarg, 1, &options->alpha))
			return false;
		if (options->alpha > 0)
			return true;
		cli_message("--alpha: 0 would never find anything");
		return false;
	case 'j':
		arguments->json = optarg;
		return true;
	default:
		arguments->quiet = true;
		return true;
	}
}

static bool parse(int argc, char **argv, struct compare_arguments *arguments)
{
	/* No letters on the command line: numbers that getopt_long does not take for any. */
	enum {
		METRIC = IMAGE_OPTION_FIRST,
		THRESHOLD,
		ALPHA,
		JSON,
		QUIET
	};
	static const char kinds[] = "mtajq";
	static const struct option options[] = {
		{ "metric", required_argument, NULL, METRIC },
		{ "threshold", required_argument, NULL, THRESHOLD },
		{ "alpha", required_argument, NULL, ALPHA },
		{ "json", required_argument, NULL, JSON },
		{ "quiet", no_argument, NULL, QUIET },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option < METRIC)
			return image_option_refuse("compare", argv[optind - 1], option);
		if (!parse_option(arguments, kinds[option - METRIC]))
			return false;
	}
	if (argc - optind != 2) {
		cli_message("two results to compare are needed; see refstorm help compare");
		return false;
	}
	arguments->paths[0] = argv[optind];
	arguments->paths[1] = argv[optind + 1];
	return true;
}

static json_t *load(const char *path)
{
	json_error_t error;
	json_t *document = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

	if (!document && error.line > 0)
		cli_message("%s: line %d: no JSON: %s", path, error.line, error.text);
	else if (!document)
		cli_message("%s: %s", path, error.text);
	return document;
}

static void print_ratio(FILE *to, const struct compare_test *test)
{
	if (test->has_ratio)
		fprintf(to, " %7.3f [%7.3f %7.3f]", test->ratio.median, test->ratio.low,
			test->ratio.high);
	else
		fprintf(to, " %7s %17s", "-", "");
	fprintf(to, " %9.2g %9.2g  ", test->rank.p, test->adjusted);
}

static bool print_place(FILE *to, const struct compare_report *report,
			const struct compare_test *test)
{
	const struct compare_point *point;
	char *params;

	if (test->point == COMPARE_ALL) {
		fprintf(to, "%-30s %4s %6s %12s %12s", report->workloads[test->workload], "all",
			"all", "", "");
		return true;
	}
	point = &report->points[test->point];
	fprintf(to, "  %-12s %-15s %4lld %6lld %12.6g %12.6g", point->engine ? point->engine : "-",
		point->record ? point->record : "-", (long long)point->threads,
		(long long)point->snapshots, test->a, test->b);
	print_ratio(to, test);
	params = compare_point_params(point);
	fprintf(to, "%-8s %s\n", compare_verdict_name(test->verdict), params ? params : "");
	free(params);
	return false;
}

static void print_metric(FILE *to, const struct compare_report *report, size_t metric)
{
	const struct compare_metric *about = &report->metrics[metric];

	fprintf(to, "%s (%s is better%s)\n", about->name, about->more_is_better ? "more" : "less",
		about->decides ? "" : "; does not decide");
	fprintf(to, "%-30s %4s %6s %12s %12s %7s %17s %9s %9s\n", "workload, engine, record", "thr",
		"snaps", "A", "B", "B/A", "95 %", "p", "adjusted");
	for (size_t at = 0; at < report->test_count; at++) {
		const struct compare_test *test = &report->tests[at];

		if (test->metric != metric || !print_place(to, report, test))
			continue;
		print_ratio(to, test);
		fprintf(to, "%s\n", compare_verdict_name(test->verdict));
	}
	fputc('\n', to);
}

static void print_list(FILE *to, const char *path, const json_t *texts)
{
	for (size_t at = 0; at < json_array_size(texts); at++) {
		fputs("only in ", to);
		text_print_path(to, path);
		fprintf(to, ": %s\n", json_string_value(json_array_get(texts, at)));
	}
}

static void print_table(FILE *to, const struct compare_arguments *arguments,
			const struct compare_report *report)
{
	for (size_t metric = 0; metric < report->metric_count; metric++)
		print_metric(to, report, metric);
	print_list(to, arguments->paths[0], report->only_a);
	print_list(to, arguments->paths[1], report->only_b);
	if (report->repeats < report->point_repeats)
		fprintf(to,
			"With %zu samples a side a change shows in a workload as a whole; for a point "
			"alone %zu are needed.\n",
			report->repeats, report->point_repeats);
	fprintf(to, "%zu points, %zu workloads: %zu worse, %zu better, %zu same, %zu unclear\n",
		report->point_count, report->workload_count,
		compare_report_count(report, COMPARE_WORSE),
		compare_report_count(report, COMPARE_BETTER),
		compare_report_count(report, COMPARE_SAME),
		compare_report_count(report, COMPARE_UNCLEAR));
}

static bool write_json(FILE *to, const void *argument)
{
	return text_write_json(to, compare_report_json(argument));
}

static int show(const struct compare_arguments *arguments, const struct compare_report *report)
{
	for (size_t at = 0; at < json_array_size(report->warnings); at++)
		cli_message("warning: %s", json_string_value(json_array_get(report->warnings, at)));
	if (!arguments->quiet && !cli_output_is_stdout(arguments->json))
		print_table(stdout, arguments, report);
	if (!cli_output_write(arguments->json, write_json, report))
		return CLI_EXIT_UNUSABLE;
	return compare_report_count(report, COMPARE_WORSE) ? CLI_EXIT_WRONG : CLI_EXIT_OK;
}

static int compare_files(const struct compare_arguments *arguments)
{
	struct compare_report *report = NULL;
	struct rs_error error = RS_ERROR_INIT;
	json_t *a = load(arguments->paths[0]);
	json_t *b = a ? load(arguments->paths[1]) : NULL;
	int code = CLI_EXIT_UNUSABLE;

	if (a && b) {
		if (compare_documents(a, b, &arguments->options, &report, &error))
			cli_error(&error);
		else
			code = show(arguments, report);
	}
	compare_report_free(report);
	json_decref(a);
	json_decref(b);
	return code;
}

static int run_compare(int argc, char **argv)
{
	struct compare_arguments arguments = { .options = { .threshold = 0.05, .alpha = 0.05 } };
	int code = CLI_EXIT_UNUSABLE;

	if (parse(argc, argv, &arguments)) {
		arguments.options.a_name = arguments.paths[0];
		arguments.options.b_name = arguments.paths[1];
		code = compare_files(&arguments);
	}
	free(arguments.metric_names);
	return code;
}

const struct cli_command cli_compare = {
	.name = "compare",
	.summary = "compare two results of refstorm bench: what got worse, what better",
	.help = "usage: refstorm compare [OPTION]... A.json B.json\n"
		"\n"
		"Puts the points of two results of refstorm bench side by side: those of the same\n"
		"workload, engine, record, threads, snapshots and parameters (but for seed and\n"
		"seconds). Something is worse or better if the samples differ by more than chance\n"
		"explains, over all that is tested, and the ratio of the medians is past the\n"
		"threshold: each workload as a whole, then each of its points. It is the same if\n"
		"the interval of the ratio lies within the threshold, and unclear otherwise.\n"
		"\n"
		"  --metric NAME,...    what decides (default: cpu_ns_per_op; ops_per_s is shown\n"
		"                       too, but is left out of the verdict: on a machine that\n"
		"                       others use it changes with what they do)\n"
		"  --threshold PERCENT  changes up to this do not count (default: 5)\n"
		"  --alpha P            how likely a false alarm may be, over all (default: 0.05)\n"
		"  --json F             write the comparison as JSON to the file F, or - for\n"
		"                       standard output\n"
		"  --quiet              print no table\n"
		"\n"
		"Exit status: 0 nothing is worse; 1 something is; 2 wrong arguments, or results\n"
		"that cannot be compared.\n",
	.run = run_compare,
};
