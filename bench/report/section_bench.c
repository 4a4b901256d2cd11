// SPDX-License-Identifier: MIT
#include <math.h>
#include <string.h>

#include "bench/report/html.h"
#include "bench/report/sections.h"

#define WORKLOADS_MOST 64

/* One kind of plot: a metric over threads or snapshots, for each workload. */
struct plan {
	const char *title;
	const char *metric;
	bool over_threads;
	bool prefer_most; /* of the other: of values that show as much, the highest */
	enum chart_scale x_scale;
	enum chart_scale y_scale;
	const char *y_title;
};

static const struct plan scaling = {
	"operations per second", "ops_per_s", true, false, CHART_LINEAR, CHART_LINEAR,
	"operations per second",
};
static const struct plan cost = {
	"CPU time per operation", "cpu_ns_per_op", false, false, CHART_LOG, CHART_LOG_NS,
	"CPU time per operation",
};
static const struct plan stalls = {
	"longest wait to join a transaction",
	"join_wait_ns_max",
	false,
	true,
	CHART_LOG,
	CHART_LOG_NS,
	"longest wait",
};

static double x_of(const struct plan *plan, const struct input_point *point)
{
	return plan->over_threads ? point->threads : point->snapshots;
}

static double other_of(const struct plan *plan, const struct input_point *point)
{
	return plan->over_threads ? point->snapshots : point->threads;
}

static struct chart_point value_of(const struct plan *plan, const struct input_point *point)
{
	return (struct chart_point){
		.x = x_of(plan, point),
		.y = input_metric(point, plan->metric, "median"),
		.low = input_metric(point, plan->metric, "low"),
		.high = input_metric(point, plan->metric, "high"),
	};
}

static bool is_shown(const struct plan *plan, const struct input_point *point, const char *workload)
{
	return !strcmp(point->workload, workload) && isfinite(value_of(plan, point).y);
}

/* How many points have `other`, at values of x that no earlier of them has. */
static size_t breadth_at(const struct plan *plan, const struct input_file *file,
			 const char *workload, double other)
{
	size_t at, before, count = 0;

	for (at = 0; at < file->point_count; at++) {
		const struct input_point *point = &file->points[at];
		bool seen = false;

		if (!is_shown(plan, point, workload) || other_of(plan, point) != other)
			continue;
		for (before = 0; before < at && !seen; before++)
			seen = is_shown(plan, &file->points[before], workload) &&
			       other_of(plan, &file->points[before]) == other &&
			       x_of(plan, &file->points[before]) == x_of(plan, point);
		count += !seen;
	}
	return count;
}

/* The number of threads or snapshots that is held fixed: the one that shows most; NAN without a point. */
static double fixed_of(const struct plan *plan, const struct input_file *file, const char *workload)
{
	double best = NAN;
	size_t at, most = 0;

	for (at = 0; at < file->point_count; at++) {
		double other = other_of(plan, &file->points[at]);
		size_t breadth;
		bool better;

		if (!is_shown(plan, &file->points[at], workload) || other == best)
			continue;
		breadth = breadth_at(plan, file, workload, other);
		better = plan->prefer_most ? other > best : other < best;
		if (breadth > most || (breadth == most && better)) {
			most = breadth;
			best = other;
		}
	}
	return best;
}

static void name_of(const struct input_point *point, char name[CHART_NAME_BYTES])
{
	snprintf(name, CHART_NAME_BYTES, "%.*s, %.*s", html_cut(point->engine, 40), point->engine,
		 html_cut(point->record, 40), point->record);
}

/* The same engine and record look the same in all plots of a file. */
static unsigned look_of(const struct input_file *file, const struct input_point *point)
{
	unsigned look = 0;
	size_t at, before;

	for (at = 0; at < file->point_count; at++) {
		const struct input_point *each = &file->points[at];
		bool seen = false;

		for (before = 0; before < at && !seen; before++)
			seen = !strcmp(file->points[before].engine, each->engine) &&
			       !strcmp(file->points[before].record, each->record);
		if (!strcmp(each->engine, point->engine) && !strcmp(each->record, point->record))
			return look;
		look += !seen;
	}
	return look;
}

static struct chart_series *series_of(struct page *page, struct chart *chart,
				      const struct input_file *file,
				      const struct input_point *point)
{
	char name[CHART_NAME_BYTES];
	struct chart_series *series;
	size_t at;

	name_of(point, name);
	for (at = 0; at < chart->count; at++)
		if (!strcmp(chart->series[at].name, name))
			return &chart->series[at];
	if (chart->count == CHART_SERIES_MOST)
		return NULL;
	series = chart_add(chart, file->point_count);
	if (!series) {
		page->no_memory = true;
		return NULL;
	}
	memcpy(series->name, name, sizeof(name));
	series->look = look_of(file, point);
	return series;
}

static void fill(struct page *page, struct chart *chart, const struct plan *plan,
		 const struct input_file *file, const char *workload, double fixed)
{
	size_t at;

	for (at = 0; at < file->point_count; at++) {
		const struct input_point *point = &file->points[at];
		struct chart_series *series;

		if (!is_shown(plan, point, workload) || other_of(plan, point) != fixed)
			continue;
		series = series_of(page, chart, file, point);
		if (series)
			series->points[series->count++] = value_of(plan, point);
	}
}

/* False: it has one value of x only, of which there is nothing to draw. */
static bool write_plan(struct page *page, const struct plan *plan, const struct input_file *file,
		       const char *workload)
{
	struct chart chart = {
		.x_title = plan->over_threads ? "threads" : "snapshots",
		.y_title = plan->y_title,
		.x_scale = plan->x_scale,
		.y_scale = plan->y_scale,
		.ideal = plan->over_threads,
	};
	double fixed = fixed_of(plan, file, workload);
	char title[200], note[200], number[HTML_NUMBER_BYTES];

	if (isnan(fixed))
		return true;
	fill(page, &chart, plan, file, workload, fixed);
	if (chart_breadth(&chart) < 2 && plan != &stalls) {
		chart_clear(&chart);
		return false;
	}
	snprintf(title, sizeof(title), "%.*s: %s against %s", html_cut(workload, 100), workload,
		 plan->title, chart.x_title);
	snprintf(note, sizeof(note), "With %s %s%s; bars are 95 %% intervals of the median.",
		 html_number_text(number, fixed), plan->over_threads ? "snapshot" : "thread",
		 fixed == 1 ? "" : "s");
	figure_chart(page, title, note, &chart);
	figure_data(page, title, &chart);
	figure_close(page);
	chart_clear(&chart);
	return true;
}

/* The plan for each workload; those that it has nothing to draw of are named behind it. */
static void write_plans(struct page *page, const struct plan *plan, const struct input_file *file,
			const char *const *names, size_t count)
{
	size_t absent = 0;
	size_t at;
	const char *left[WORKLOADS_MOST];

	for (at = 0; at < count; at++)
		if (!write_plan(page, plan, file, names[at]))
			left[absent++] = names[at];
	for (at = 0; at < absent; at++) {
		fputs(at ? ", " : "<p class=\"absent\">", page->to);
		html_text(page->to, left[at]);
	}
	if (absent)
		fprintf(page->to, ": one number of %s only, see all points.</p>\n",
			plan->over_threads ? "threads" : "snapshots");
}

/* Each workload once, in the order of the file. */
static size_t workloads_of(const struct input_file *file, const char *names[WORKLOADS_MOST])
{
	size_t at, place, count = 0;

	for (at = 0; at < file->point_count; at++) {
		for (place = 0; place < count; place++)
			if (!strcmp(names[place], file->points[at].workload))
				break;
		if (place == count && count < WORKLOADS_MOST)
			names[count++] = file->points[at].workload;
	}
	return count;
}

static const char *const all_metrics[] = {
	"ops_per_s",        "ns_per_op",     "cpu_ns_per_op",  "user_ns_per_op",
	"join_wait_ns_max", "commits_per_s", "peak_rss_bytes",
};

static void write_all_row(FILE *to, const struct input_point *point)
{
	size_t at;

	fputs("<tr>", to);
	html_cell_text(to, point->workload);
	html_cell_text(to, point->engine);
	html_cell_text(to, point->record);
	html_cell_number(to, point->threads);
	html_cell_number(to, point->snapshots);
	html_cell(to, json_object_get(point->json, "ops"), HTML_NUMBER);
	for (at = 0; at < sizeof(all_metrics) / sizeof(all_metrics[0]); at++) {
		double value = input_metric(point, all_metrics[at], "median");

		fputs("<td class=\"n\">", to);
		if (strstr(all_metrics[at], "bytes"))
			html_bytes(to, value);
		else if (strstr(all_metrics[at], "_max"))
			html_duration(to, value);
		else
			html_number(to, value);
		fputs("</td>", to);
	}
	fputs("</tr>\n", to);
}

static void write_all(struct page *page, const struct input_file *file)
{
	static const struct html_column columns[] = {
		{ "workload", NULL, HTML_TEXT },
		{ "engine", NULL, HTML_TEXT },
		{ "record", NULL, HTML_TEXT },
		{ "threads", NULL, HTML_NUMBER },
		{ "snapshots", NULL, HTML_NUMBER },
		{ "operations", NULL, HTML_NUMBER },
		{ "operations/s", NULL, HTML_NUMBER },
		{ "wall time of a thread (ns/op)", NULL, HTML_NUMBER },
		{ "CPU (ns/op)", NULL, HTML_NUMBER },
		{ "CPU outside the system (ns/op)", NULL, HTML_NUMBER },
		{ "longest join wait", NULL, HTML_NUMBER },
		{ "commits/s", NULL, HTML_NUMBER },
		{ "peak memory", NULL, HTML_NUMBER },
	};
	size_t at;

	fputs("<h3>All points</h3>\n", page->to);
	figure_data_open(page);
	html_table_open(page->to, "Medians of every point", columns,
			sizeof(columns) / sizeof(columns[0]));
	for (at = 0; at < file->point_count; at++)
		write_all_row(page->to, &file->points[at]);
	html_table_close(page->to);
	figure_data_close(page);
}

static void write_locks(struct page *page, const struct input_file *file)
{
	char caption[300], number[HTML_NUMBER_BYTES];
	size_t at;

	fputs("<h3>Locks</h3>\n<p>Of each point that took any, locks of the same name added up.</p>\n"
	      "<details><summary>Points</summary>\n",
	      page->to);
	for (at = 0; at < file->point_count; at++) {
		const struct input_point *point = &file->points[at];

		if (point->failed || !json_array_size(json_object_get(point->json, "locks")))
			continue;
		snprintf(caption, sizeof(caption), "%.*s: %.*s, %.*s, %.15g threads, %s snapshots",
			 html_cut(point->workload, 60), point->workload,
			 html_cut(point->engine, 40), point->engine, html_cut(point->record, 40),
			 point->record, point->threads, html_number_text(number, point->snapshots));
		fputs("<details class=\"inner\"><summary>", page->to);
		html_text(page->to, caption);
		fputs("</summary>\n", page->to);
		section_locks(page, caption, point->json);
		figure_data_close(page);
	}
	figure_data_close(page);
}

void section_bench(struct page *page, const struct input_file *file, size_t at)
{
	static const struct {
		const char *head;
		const char *about;
		const struct plan *plan; /* NULL: latency */
	} groups[] = {
		{ "Scaling",
		  "All threads together, with the line of a perfect scaling from the "
		  "best value at the fewest threads.",
		  &scaling },
		{ "Cost against snapshots",
		  "CPU time of the whole process for one operation. "
		  "Flat is what is wanted.",
		  &cost },
		{ "Latency",
		  "How long single operations took: half of them, all but one in ten, "
		  "in a hundred, in a thousand, and the longest.",
		  NULL },
		{ "Commit stalls", "The longest that a writer waited to get into a transaction.",
		  &stalls },
	};
	const char *names[WORKLOADS_MOST];
	size_t count = workloads_of(file, names), group, name;

	fprintf(page->to, "<section id=\"bench-%zu\">\n<h2>Benchmark <span class=\"file\">", at);
	html_text(page->to, file->name);
	fputs("</span></h2>\n", page->to);
	if (json_is_true(json_object_get(file->root, "partial")))
		fputs("<p class=\"warning\">This sweep was ended early: its results are partial.</p>\n",
		      page->to);
	if (!file->point_count)
		fputs("<p class=\"absent\">It has no points.</p>\n", page->to);
	for (group = 0; count && group < sizeof(groups) / sizeof(groups[0]); group++) {
		fprintf(page->to, "<h3>%s</h3>\n<p>%s</p>\n", groups[group].head,
			groups[group].about);
		if (groups[group].plan)
			write_plans(page, groups[group].plan, file, names, count);
		for (name = 0; name < count && !groups[group].plan; name++)
			section_latency(page, file, names[name]);
	}
	if (count) {
		write_locks(page, file);
		write_all(page, file);
	}
	fputs("</section>\n", page->to);
}
