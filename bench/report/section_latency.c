// SPDX-License-Identifier: MIT
#include <math.h>
#include <string.h>

#include "bench/report/html.h"
#include "bench/report/sections.h"
#include "core/base/alloc.h"

#define ROWS_MOST 40

static const struct {
	const char *name;
	const char *key;
} quantiles[] = {
	{ "half (p50)", "p50_ns" }, { "p90", "p90_ns" },     { "p99", "p99_ns" },
	{ "p99.9", "p999_ns" },     { "longest", "max_ns" },
};

#define QUANTILE_COUNT (sizeof(quantiles) / sizeof(quantiles[0]))

/* An operation of a point. */
struct row {
	const struct input_point *point;
	const char *operation;
	const json_t *latency;
};

static bool has_latency(const struct input_point *point, const char *workload)
{
	return !point->failed && !strcmp(point->workload, workload) &&
	       json_object_size(json_object_get(point->json, "latency"));
}

/* Whether `point` has the most snapshots, and then the most threads, of its engine and record. */
static bool is_hardest(const struct input_file *file, const struct input_point *point,
		       const char *workload)
{
	size_t at;

	for (at = 0; at < file->point_count; at++) {
		const struct input_point *other = &file->points[at];

		if (!has_latency(other, workload) || strcmp(other->engine, point->engine) ||
		    strcmp(other->record, point->record))
			continue;
		if (other->snapshots > point->snapshots ||
		    (other->snapshots == point->snapshots && other->threads > point->threads))
			return false;
	}
	return true;
}

static size_t collect(const struct input_file *file, const char *workload,
		      struct row rows[ROWS_MOST])
{
	size_t at, count = 0;
	const char *operation;
	json_t *latency;

	for (at = 0; at < file->point_count; at++) {
		const struct input_point *point = &file->points[at];

		if (!has_latency(point, workload) || !is_hardest(file, point, workload))
			continue;
		json_object_foreach(json_object_get(point->json, "latency"), operation, latency)
		{
			if (count == ROWS_MOST)
				return count;
			rows[count++] = (struct row){ point, operation, latency };
		}
	}
	return count;
}

/* The rows of an operation side by side: kept in order otherwise. */
static void group_operations(struct row *rows, size_t count)
{
	size_t first, at, end;

	for (first = 0; first < count; first = end) {
		end = first + 1;
		for (at = end; at < count; at++)
			if (!strcmp(rows[at].operation, rows[first].operation)) {
				struct row moved = rows[at];

				memmove(rows + end + 1, rows + end, (at - end) * sizeof(*rows));
				rows[end++] = moved;
			}
	}
}

static bool build(struct chart *chart, const struct row *rows, size_t count)
{
	size_t at, quantile;

	chart->rows = alloc_zeroed(count, sizeof(*chart->rows));
	if (!chart->rows)
		return false;
	chart->row_count = count;
	for (at = 0; at < count; at++) {
		const struct input_point *point = rows[at].point;

		snprintf(chart->rows[at], sizeof(chart->rows[at]), "%.*s \xc2\xb7 %.*s %.*s",
			 html_cut(rows[at].operation, 30), rows[at].operation,
			 html_cut(point->engine, 12), point->engine, html_cut(point->record, 12),
			 point->record);
	}
	for (quantile = 0; quantile < QUANTILE_COUNT; quantile++) {
		struct chart_series *series = chart_add(chart, count);

		if (!series)
			return false;
		snprintf(series->name, sizeof(series->name), "%s", quantiles[quantile].name);
		for (at = 0; at < count; at++)
			series->points[series->count++] = (struct chart_point){
				.x = input_number(rows[at].latency, quantiles[quantile].key),
				.y = (double)(at + 1),
				.low = NAN,
				.high = NAN,
			};
	}
	return true;
}

static void write_table(struct page *page, const char *title, const struct row *rows, size_t count)
{
	static const struct html_column columns[] = {
		{ "operation", NULL, HTML_TEXT },
		{ "engine", NULL, HTML_TEXT },
		{ "record", NULL, HTML_TEXT },
		{ "threads", NULL, HTML_NUMBER },
		{ "snapshots", NULL, HTML_NUMBER },
		{ "count", "count", HTML_NUMBER },
		{ "mean", "mean_ns", HTML_NS },
		{ "p50", "p50_ns", HTML_NS },
		{ "p90", "p90_ns", HTML_NS },
		{ "p99", "p99_ns", HTML_NS },
		{ "p99.9", "p999_ns", HTML_NS },
		{ "longest", "max_ns", HTML_NS },
		{ "over the scale", "over", HTML_NUMBER },
	};
	size_t at, column, columns_count = sizeof(columns) / sizeof(columns[0]);
	FILE *to = page->to;

	html_table_open(to, title, columns, columns_count);
	for (at = 0; at < count; at++) {
		fputs("<tr>", to);
		html_cell_text(to, rows[at].operation);
		html_cell_text(to, rows[at].point->engine);
		html_cell_text(to, rows[at].point->record);
		html_cell_number(to, rows[at].point->threads);
		html_cell_number(to, rows[at].point->snapshots);
		for (column = 5; column < columns_count; column++)
			html_cell(to, json_object_get(rows[at].latency, columns[column].key),
				  columns[column].kind);
		fputs("</tr>\n", to);
	}
	html_table_close(to);
}

void section_latency(struct page *page, const struct input_file *file, const char *workload)
{
	struct chart chart = {
		.x_scale = CHART_LOG_NS,
		.y_scale = CHART_ROWS,
		.apart = true,
	};
	struct row rows[ROWS_MOST];
	size_t count = collect(file, workload, rows);
	char title[200];

	if (!count)
		return;
	group_operations(rows, count);
	if (!build(&chart, rows, count))
		page->no_memory = true;
	snprintf(title, sizeof(title), "%.*s: latency of each operation", html_cut(workload, 100),
		 workload);
	figure_chart(page, title,
		     "Each engine and record at its most snapshots, then most threads.", &chart);
	figure_data_open(page);
	write_table(page, title, rows, count);
	figure_data_close(page);
	figure_close(page);
	chart_clear(&chart);
}
