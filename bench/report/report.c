// SPDX-License-Identifier: MIT
#include "bench/report/report.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "bench/report/html.h"
#include "bench/report/sections.h"

/* Of the newest file that has a run record. */
static const json_t *first_run(const struct input *input)
{
	size_t at;

	for (at = 0; at < input->bench_count; at++)
		if (json_is_object(json_object_get(input->bench[at].root, "run")))
			return json_object_get(input->bench[at].root, "run");
	for (at = 0; at < INPUT_KINDS; at++)
		if (json_is_object(json_object_get(input->one[at].root, "run")))
			return json_object_get(input->one[at].root, "run");
	return NULL;
}

static void write_lead(FILE *to, const json_t *run)
{
	static const char *const keys[] = { "machine", "cpu", "kernel", "commit", "date" };
	bool first = true;
	size_t at;

	fputs("<p class=\"lead\">", to);
	for (at = 0; at < sizeof(keys) / sizeof(keys[0]); at++) {
		const json_t *value = json_object_get(run, keys[at]);

		if (!json_is_string(value))
			continue;
		fputs(first ? "" : " &middot; ", to);
		first = false;
		html_value(to, value, HTML_TEXT);
	}
	fputs("</p>\n", to);
}

static void write_link(FILE *to, const char *target, const char *text, bool shown)
{
	if (shown)
		fprintf(to, "<li><a href=\"#%s\">%s</a></li>\n", target, text);
}

static bool has_runs(const struct input *input)
{
	return input->bench_count || input->one[INPUT_PROFILE].root ||
	       input->one[INPUT_STRESS].root;
}

/* What spoils the rest is told first. */
static void write_warning(FILE *to, const struct input *input)
{
	size_t failed = section_failed_count(input);

	if (!failed && !input->refused_count)
		return;
	fputs("<p class=\"warning\">", to);
	if (failed)
		section_count(to, (double)failed, "point");
	fputs(failed ? " failed" : "", to);
	fputs(failed && input->refused_count ? ", " : "", to);
	if (input->refused_count)
		section_count(to, (double)input->refused_count, "file");
	fputs(input->refused_count ? " left out" : "", to);
	fputs(": see <a href=\"#failures\">what is missing</a>.</p>\n", to);
}

static void write_contents(FILE *to, const struct input *input)
{
	size_t at;

	fputs("<nav aria-label=\"Contents\"><ul>\n", to);
	for (at = 0; at < input->bench_count; at++) {
		fprintf(to, "<li><a href=\"#bench-%zu\">Benchmark", at + 1);
		if (input->bench_count > 1)
			fprintf(to, "&nbsp;%zu", at + 1);
		fputs("</a></li>\n", to);
	}
	write_link(to, "profile", "Profile", input->one[INPUT_PROFILE].root);
	write_link(to, "stress", "Stress", input->one[INPUT_STRESS].root);
	write_link(to, "verify", "Verify", input->one[INPUT_VERIFY].root);
	write_link(to, "failures", "What is missing", input->bench_count || input->refused_count);
	write_link(to, "runs", "What ran where", has_runs(input));
	fputs("</ul></nav>\n", to);
}

static void write_head(FILE *to, const struct input *input)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<meta name=\"color-scheme\" content=\"light dark\">\n"
	      "<title>refstorm: results</title>\n<style>\n",
	      to);
	fputs(page_style, to);
	fputs("</style>\n</head>\n<body>\n<header>\n<h1>refstorm <span>results</span></h1>\n", to);
	write_lead(to, first_run(input));
	write_contents(to, input);
	write_warning(to, input);
	fputs("</header>\n<main>\n", to);
}

int report_write(FILE *to, const struct input *input, char fault[RS_ERROR_WHAT_MAX])
{
	struct page page = { .to = to, .input = input };
	size_t at;

	write_head(to, input);
	section_headlines(&page);
	for (at = 0; at < input->bench_count; at++)
		section_bench(&page, &input->bench[at], at + 1);
	section_profile(&page);
	section_stress(&page);
	section_verify(&page);
	section_failures(&page);
	section_runs(&page);
	fputs("</main>\n</body>\n</html>\n", to);
	memcpy(fault, page.plot_fault, RS_ERROR_WHAT_MAX);
	if (page.no_memory)
		return -ENOMEM;
	return fflush(to) || ferror(to) ? -EIO : 0;
}
