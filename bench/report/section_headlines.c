// SPDX-License-Identifier: MIT
#include <math.h>
#include <string.h>

#include "bench/report/html.h"
#include "bench/report/report.h"
#include "bench/report/sections.h"

/* Two points that differ in one thing, and how much they say: of pairs the one is shown that says most. */
struct pair {
	const struct input_point *a;
	const struct input_point *b;
	double rank;
	double second; /* among those of one rank */
};

static bool is_alike(const char *a, const char *b)
{
	return !strcmp(a, b);
}

static double cpu(const struct input_point *point)
{
	return input_metric(point, "cpu_ns_per_op", "median");
}

static double speed(const struct input_point *point)
{
	return input_metric(point, "ops_per_s", "median");
}

static bool is_flat_pair(const struct input_point *a, const struct input_point *b,
			 struct pair *pair)
{
	if (!is_alike(a->engine, "ledger") || !is_alike(b->engine, "ledger") ||
	    !is_alike(a->workload, b->workload) || !is_alike(a->record, b->record) ||
	    a->threads != b->threads || a->snapshots >= b->snapshots || !(cpu(a) > 0) ||
	    !(cpu(b) > 0))
		return false;
	pair->rank = b->snapshots;
	pair->second = -a->snapshots;
	return true;
}

static bool is_engine_pair(const struct input_point *a, const struct input_point *b,
			   struct pair *pair)
{
	if (!is_alike(a->engine, "ledger") || !is_alike(b->engine, "extent") ||
	    !is_alike(a->workload, b->workload) || !is_alike(a->record, b->record) ||
	    a->threads != b->threads || a->snapshots != b->snapshots || !(cpu(a) > 0) ||
	    !(cpu(b) > 0))
		return false;
	pair->rank = a->snapshots;
	pair->second = -a->threads;
	return true;
}

static bool is_record_pair(const struct input_point *a, const struct input_point *b,
			   struct pair *pair)
{
	if (!is_alike(a->record, "locked") || !is_alike(b->record, "percpu") ||
	    !is_alike(a->workload, b->workload) || !is_alike(a->engine, b->engine) ||
	    a->threads != b->threads || a->snapshots != b->snapshots || !(speed(a) > 0) ||
	    !(speed(b) > 0))
		return false;
	pair->rank = a->threads;
	pair->second = -a->snapshots;
	return true;
}

/* The workload that each question was asked for, where the numbers leave a choice. */
static bool is_better(const struct pair *found, const struct pair *best, const char *workload)
{
	if (!best->a || found->rank != best->rank)
		return !best->a || found->rank > best->rank;
	if (is_alike(found->a->workload, workload) != is_alike(best->a->workload, workload))
		return is_alike(found->a->workload, workload);
	return found->second > best->second;
}

/* Of the newest file that has such a pair. */
static bool find_pair(const struct page *page,
		      bool (*is_pair)(const struct input_point *, const struct input_point *,
				      struct pair *),
		      const char *workload, struct pair *best)
{
	size_t file, a, b;

	*best = (struct pair){ 0 };
	for (file = 0; file < page->input->bench_count && !best->a; file++) {
		const struct input_file *bench = &page->input->bench[file];

		for (a = 0; a < bench->point_count; a++)
			for (b = 0; b < bench->point_count; b++) {
				struct pair found = { .a = &bench->points[a],
						      .b = &bench->points[b] };

				if (is_pair(found.a, found.b, &found) &&
				    is_better(&found, best, workload))
					*best = found;
			}
	}
	return best->a != NULL;
}

static void open_card(FILE *to, double ratio, const char *what)
{
	fputs("<div class=\"card\"><dt>", to);
	fputs(what, to);
	fputs("</dt><dd><span class=\"big\">", to);
	html_number(to, ratio < 100 ? rint(ratio * 100) / 100 : ratio);
	fputs("&thinsp;\xc3\x97</span> ", to);
}

static void write_place(FILE *to, const struct input_point *point)
{
	fputs("<span class=\"where\">", to);
	html_text(to, point->workload);
	fputs(", ", to);
	section_count(to, point->threads, "thread");
}

static void close_card(FILE *to)
{
	fputs(".</span></dd></div>\n", to);
}

static void write_flat(FILE *to, const struct pair *pair)
{
	open_card(to, cpu(pair->b) / cpu(pair->a), "Cost grows with snapshots");
	fputs("CPU time per operation of the ledger with ", to);
	section_count(to, pair->b->snapshots, "snapshot");
	fputs(", against ", to);
	html_number(to, pair->a->snapshots);
	fputs(". ", to);
	write_place(to, pair->a);
	fputs(", ", to);
	html_text(to, pair->a->record);
	fputs(": ", to);
	html_duration(to, cpu(pair->b));
	fputs(" against ", to);
	html_duration(to, cpu(pair->a));
	close_card(to);
}

static void write_engines(FILE *to, const struct pair *pair)
{
	open_card(to, cpu(pair->b) / cpu(pair->a), "Ledger saves");
	fputs("CPU time per operation of the extent engine, against the ledger, with ", to);
	section_count(to, pair->a->snapshots, "snapshot");
	fputs(". ", to);
	write_place(to, pair->a);
	fputs(", ", to);
	html_text(to, pair->a->record);
	fputs(": ", to);
	html_duration(to, cpu(pair->b));
	fputs(" against ", to);
	html_duration(to, cpu(pair->a));
	close_card(to);
}

static void write_records(FILE *to, const struct pair *pair)
{
	open_card(to, speed(pair->b) / speed(pair->a), "Per-CPU records gain");
	fputs("operations per second of per-CPU records, against one lock, with ", to);
	section_count(to, pair->a->threads, "thread");
	fputs(". ", to);
	write_place(to, pair->a);
	fputs(", engine ", to);
	html_text(to, pair->a->engine);
	fputs(", ", to);
	section_count(to, pair->a->snapshots, "snapshot");
	fputs(": ", to);
	html_number(to, speed(pair->b));
	fputs("/s against ", to);
	html_number(to, speed(pair->a));
	fputs("/s", to);
	close_card(to);
}

void section_count(FILE *to, double count, const char *what)
{
	html_number(to, count);
	fprintf(to, "&nbsp;%s%s", what, count == 1 ? "" : "s");
}

void report_headlines(FILE *to, const struct input *input)
{
	const struct page page = { .input = input };
	struct pair pair;

	if (find_pair(&page, is_flat_pair, "defrag-shared", &pair))
		fprintf(to,
			"%.2f times: CPU time of an operation with %.15g snapshots, against %.15g "
			"(%s, ledger)\n",
			cpu(pair.b) / cpu(pair.a), pair.b->snapshots, pair.a->snapshots,
			pair.a->workload);
	if (find_pair(&page, is_engine_pair, "defrag-shared", &pair))
		fprintf(to,
			"%.4g times: CPU time of an operation on the engine extent, against the "
			"ledger (%s, snapshots: %.15g)\n",
			cpu(pair.b) / cpu(pair.a), pair.a->workload, pair.a->snapshots);
	if (find_pair(&page, is_record_pair, "overwrite", &pair))
		fprintf(to,
			"%.2f times: operations a second with per-CPU records, against one lock "
			"(%s, threads: %.15g)\n",
			speed(pair.b) / speed(pair.a), pair.a->workload, pair.a->threads);
}

void section_headlines(struct page *page)
{
	struct pair flat, engines, records;
	bool has_flat = find_pair(page, is_flat_pair, "defrag-shared", &flat);
	bool has_engines = find_pair(page, is_engine_pair, "defrag-shared", &engines);
	bool has_records = find_pair(page, is_record_pair, "overwrite", &records);

	if (!has_flat && !has_engines && !has_records)
		return;
	fputs("<section id=\"headlines\">\n<h2 class=\"hidden\">Headlines</h2>\n<dl class=\"cards\">\n",
	      page->to);
	if (has_flat)
		write_flat(page->to, &flat);
	if (has_engines)
		write_engines(page->to, &engines);
	if (has_records)
		write_records(page->to, &records);
	fputs("</dl>\n</section>\n", page->to);
}
