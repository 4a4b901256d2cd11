// SPDX-License-Identifier: MIT
/* What is missing from the page, and what its results were measured on. */
#include <stdbool.h>
#include <string.h>

#include "bench/report/html.h"
#include "bench/report/sections.h"
#include "core/base/alloc.h"

size_t section_failed_count(const struct input *input)
{
	size_t file, at, count = 0;

	for (file = 0; file < input->bench_count; file++)
		for (at = 0; at < input->bench[file].point_count; at++)
			count += input->bench[file].points[at].failed != NULL;
	return count;
}

static void write_points(FILE *to, const struct input_file *file)
{
	size_t at;

	for (at = 0; at < file->point_count; at++) {
		const struct input_point *point = &file->points[at];

		if (!point->failed)
			continue;
		fputs("<tr>", to);
		html_cell_text(to, file->name);
		html_cell_text(to, point->workload);
		html_cell_text(to, point->engine);
		html_cell_text(to, point->record);
		html_cell_number(to, point->threads);
		html_cell_number(to, point->snapshots);
		html_cell_text(to, point->failed);
		fputs("</tr>\n", to);
	}
}

static void write_refused(FILE *to, const struct input *input)
{
	static const struct html_column columns[] = {
		{ "file", NULL, HTML_TEXT },
		{ "why it is left out", NULL, HTML_TEXT },
	};
	size_t at;

	html_table_open(to, "Files that could not be used", columns, 2);
	for (at = 0; at < input->refused_count; at++) {
		fputs("<tr>", to);
		html_cell_text(to, input->refused[at].name);
		html_cell_text(to, input->refused[at].why);
		fputs("</tr>\n", to);
	}
	html_table_close(to);
}

void section_failures(struct page *page)
{
	static const struct html_column columns[] = {
		{ "file", NULL, HTML_TEXT },      { "workload", NULL, HTML_TEXT },
		{ "engine", NULL, HTML_TEXT },    { "record", NULL, HTML_TEXT },
		{ "threads", NULL, HTML_NUMBER }, { "snapshots", NULL, HTML_NUMBER },
		{ "why", NULL, HTML_TEXT },
	};
	size_t file, failed = section_failed_count(page->input);
	FILE *to = page->to;

	if (!page->input->bench_count && !page->input->refused_count && !page->plot_fault[0])
		return;
	fputs("<section id=\"failures\">\n<h2>What is missing</h2>\n", to);
	if (page->plot_fault[0]) {
		fputs("<p class=\"warning\">Plots are missing: ", to);
		html_text(to, page->plot_fault);
		fputs(". Their data stands in the tables.</p>\n", to);
	}
	if (failed) {
		html_table_open(to, "Points that failed", columns,
				sizeof(columns) / sizeof(columns[0]));
		for (file = 0; file < page->input->bench_count; file++)
			write_points(to, &page->input->bench[file]);
		html_table_close(to);
	} else if (page->input->bench_count) {
		fputs("<p>No point failed.</p>\n", to);
	}
	if (page->input->refused_count)
		write_refused(to, page->input);
	fputs("</section>\n", to);
}

static void write_run_value(FILE *to, const char *key, const json_t *value)
{
	enum html_kind kind = HTML_TEXT;

	if (!strcmp(key, "memory") || strstr(key, "bytes"))
		kind = HTML_BYTES;
	else if (!strcmp(key, "command"))
		kind = HTML_COMMAND;
	fputs("<td>", to);
	html_value(to, value, kind);
	fputs("</td>", to);
}

/* Whether one of the first `count` of `runs` has `key`. */
static bool has_key(const json_t *const *runs, size_t count, const char *key)
{
	size_t at;

	for (at = 0; at < count; at++)
		if (json_object_get(runs[at], key))
			return true;
	return false;
}

/* A column for each run, a row for each key that any of them has. */
static void write_runs(FILE *to, const struct html_column *columns, const json_t *const *runs,
		       size_t count)
{
	const char *key;
	json_t *value;
	size_t at, run;

	html_table_open(to, "The machine and the command of each result", columns, count + 1);
	for (at = 0; at < count; at++)
		json_object_foreach((json_t *)runs[at], key, value)
		{
			if (has_key(runs, at, key))
				continue;
			fputs("<tr><th scope=\"row\">", to);
			html_text(to, key);
			fputs("</th>", to);
			for (run = 0; run < count; run++)
				write_run_value(to, key, json_object_get(runs[run], key));
			fputs("</tr>\n", to);
		}
	html_table_close(to);
}

void section_runs(struct page *page)
{
	const struct input *input = page->input;
	size_t most = input->bench_count + INPUT_KINDS, count = 0, at;
	struct html_column *columns = alloc_zeroed(most + 1, sizeof(*columns));
	const json_t **runs = alloc_zeroed(most, sizeof(*runs));

	if (!columns || !runs) {
		page->no_memory = true;
		goto out;
	}
	columns[0] = (struct html_column){ "what", NULL, HTML_TEXT };
	for (at = 0; at < most; at++) {
		const struct input_file *file = at < input->bench_count ?
							&input->bench[at] :
							&input->one[at - input->bench_count];

		/* An image is verified with no record of the run. */
		if (!file->root || file == &input->one[INPUT_VERIFY])
			continue;
		runs[count++] = json_object_get(file->root, "run");
		columns[count] = (struct html_column){ file->name, NULL, HTML_TEXT };
	}
	if (count) {
		fputs("<section id=\"runs\" class=\"runs\">\n<h2>What ran where</h2>\n", page->to);
		write_runs(page->to, columns, runs, count);
		fputs("</section>\n", page->to);
	}
out:
	alloc_free(columns);
	alloc_free(runs);
}
