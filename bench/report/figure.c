// SPDX-License-Identifier: MIT
#include "bench/report/figure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/gnuplot.h"
#include "bench/report/html.h"
#include "bench/report/svg.h"
#include "core/base/alloc.h"
#include "core/base/error.h"

static void open_figure(struct page *page, const char *title, const char *note)
{
	fprintf(page->to, "<figure id=\"figure-%u\"><figcaption><strong>", ++page->figures);
	html_text(page->to, title);
	fputs("</strong> ", page->to);
	html_text(page->to, note);
	fputs("</figcaption>\n", page->to);
}

static void write_absence(struct page *page, const char *why)
{
	fputs("<p class=\"absent\">Not drawn: ", page->to);
	html_text(page->to, why);
	fputs(".</p>\n", page->to);
}

/* Beside the mark stands the name: colour alone tells nobody apart who does not see it. */
static void write_legend(FILE *to, const struct chart *chart)
{
	size_t at;

	fputs("<ul class=\"legend\">", to);
	for (at = 0; at < chart->count; at++) {
		unsigned look = chart->series[at].look;

		fprintf(to, "<li><span class=\"s%u\" aria-hidden=\"true\">%s</span> ",
			look % SVG_SERIES_COUNT, chart_mark(look));
		html_text(to, chart->series[at].name);
		fputs("</li>", to);
	}
	if (chart->ideal)
		fputs("<li><span class=\"muted\" aria-hidden=\"true\">\xe2\x95\x8c\xe2\x95\x8c</span> ideal</li>",
		      to);
	fputs("</ul>\n", to);
}

static void write_drawing(struct page *page, const char *kind, const char *svg)
{
	fprintf(page->to, "<div class=\"%s\" tabindex=\"0\">%s</div>\n", kind, svg);
}

/* The drawing, or NULL with the reason in `error`. */
static char *plot(struct page *page, const char *title, struct chart *chart, struct rs_error *error)
{
	char prefix[32], *script = NULL, *drawn = NULL, *clean = NULL;
	struct svg_options options = { .prefix = prefix, .label = title, .follow_page = true };
	size_t script_bytes, bytes;
	FILE *to = open_memstream(&script, &script_bytes);
	int ret;

	if (!to) {
		error_no_memory(error, "a plot");
		return NULL;
	}
	chart_script(to, chart);
	ret = ferror(to);
	if (fclose(to) || ret) {
		error_no_memory(error, "a plot");
	} else if (!gnuplot_run(script, script_bytes, &drawn, &bytes, error)) {
		snprintf(prefix, sizeof(prefix), "f%u", page->figures);
		ret = svg_clean(drawn, &options, &clean, error);
		if (ret)
			error_add_place(error, "gnuplot");
	}
	free(script);
	alloc_free(drawn);
	return clean;
}

void figure_chart(struct page *page, const char *title, const char *note, struct chart *chart)
{
	struct rs_error error = RS_ERROR_INIT;
	char *svg;

	open_figure(page, title, note);
	if (!chart_drawn(chart)) {
		write_absence(page, "there is no value");
		return;
	}
	if (page->no_gnuplot) {
		write_absence(page, "gnuplot is not installed");
		return;
	}
	svg = plot(page, title, chart, &error);
	if (svg) {
		write_legend(page->to, chart);
		write_drawing(page, "plot", svg);
		free(svg);
		return;
	}
	page->no_gnuplot = error.code == -ENOENT;
	page->no_memory = page->no_memory || error.code == -ENOMEM;
	if (!page->plot_fault[0])
		snprintf(page->plot_fault, sizeof(page->plot_fault), "%s", error.what);
	write_absence(page, error.what);
}

void figure_drawing(struct page *page, const char *title, const char *note, const char *name)
{
	struct rs_error error = RS_ERROR_INIT;
	char prefix[32], *text = NULL, *clean = NULL;
	const struct svg_options options = { .prefix = prefix, .label = title };
	size_t bytes;

	open_figure(page, title, note);
	snprintf(prefix, sizeof(prefix), "f%u", page->figures);
	if (!input_named_file(page->input, name, &text, &bytes, &error) &&
	    svg_clean(text, &options, &clean, &error))
		error_add_place(&error, "%s", name);
	if (clean) {
		write_drawing(page, "plot flame", clean);
	} else {
		char why[RS_ERROR_WHERE_MAX + RS_ERROR_WHAT_MAX + 2];

		snprintf(why, sizeof(why), "%s%s%s", error.where, error.where[0] ? ": " : "",
			 error.what);
		page->no_memory = page->no_memory || error.code == -ENOMEM;
		write_absence(page, why);
	}
	alloc_free(text);
	free(clean);
}

void figure_data_open(struct page *page)
{
	fputs("<details><summary>Data</summary>\n", page->to);
}

void figure_data_close(struct page *page)
{
	fputs("</details>\n", page->to);
}

void figure_close(struct page *page)
{
	fputs("</figure>\n", page->to);
}

void figure_data(struct page *page, const char *caption, const struct chart *chart)
{
	char y_title[64];
	const struct html_column columns[] = {
		{ "series", NULL, HTML_TEXT },
		{ chart->x_title, NULL, HTML_NUMBER },
		{ y_title, NULL, HTML_NUMBER },
		{ "low (95\xc2\xa0%)", NULL, HTML_NUMBER },
		{ "high (95\xc2\xa0%)", NULL, HTML_NUMBER },
	};
	size_t at, point;

	snprintf(y_title, sizeof(y_title), "%s%s", chart->y_title,
		 chart->y_scale == CHART_LOG_NS ? " (ns)" : "");
	figure_data_open(page);
	html_table_open(page->to, caption, columns, sizeof(columns) / sizeof(columns[0]));
	for (at = 0; at < chart->count; at++)
		for (point = 0; point < chart->series[at].count; point++) {
			const struct chart_point *p = &chart->series[at].points[point];

			fputs("<tr>", page->to);
			html_cell_text(page->to, chart->series[at].name);
			html_cell_number(page->to, p->x);
			html_cell_number(page->to, p->y);
			html_cell_number(page->to, p->low);
			html_cell_number(page->to, p->high);
			fputs("</tr>\n", page->to);
		}
	html_table_close(page->to);
	figure_data_close(page);
}
