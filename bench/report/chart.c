// SPDX-License-Identifier: MIT
#include "bench/report/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/html.h"
#include "bench/report/svg.h"
#include "core/base/alloc.h"

#define WIDTH 640
#define HEIGHT 330
#define ROW_HEIGHT 26
#define ROWS_FRAME 80
/* Of the width of the plot: tics nearer to each other would be written over one another. */
#define TICS_APART 0.07
#define TICS_MOST 48
#define LEAST 1e-6
#define MOST 1e18

struct range {
	double low;
	double high;
};

static const struct {
	const char *text;
	int number; /* of gnuplot's points */
} marks[SVG_SERIES_COUNT] = {
	{ "\xe2\x97\x8f", 7 },  { "\xe2\x96\xa0", 5 },  { "\xe2\x96\xb2", 9 },
	{ "\xe2\x97\x86", 13 }, { "\xe2\x96\xbc", 11 }, { "\xe2\x97\x8b", 6 },
	{ "\xe2\x96\xa1", 4 },  { "\xe2\x96\xb3", 8 },
};

const char *chart_mark(unsigned look)
{
	return marks[look % SVG_SERIES_COUNT].text;
}

struct chart_series *chart_add(struct chart *chart, size_t most)
{
	struct chart_series *series = &chart->series[chart->count];

	if (chart->count == CHART_SERIES_MOST)
		return NULL;
	*series = (struct chart_series){ .look = (unsigned)chart->count };
	series->points = alloc_array(most ? most : 1, sizeof(*series->points));
	if (!series->points)
		return NULL;
	chart->count++;
	return series;
}

void chart_clear(struct chart *chart)
{
	size_t at;

	for (at = 0; at < chart->count; at++)
		alloc_free(chart->series[at].points);
	alloc_free(chart->rows);
	chart->rows = NULL;
	chart->count = 0;
	chart->row_count = 0;
}

static bool is_log(enum chart_scale scale)
{
	return scale == CHART_LOG || scale == CHART_LOG_NS;
}

/* What no result has is not drawn: the steps of an axis are counted. */
static bool is_drawn(const struct chart *chart, const struct chart_point *point)
{
	bool x_log = chart->x_scale == CHART_LOG_NS, y_log = is_log(chart->y_scale);

	return point->x >= (x_log ? LEAST : 0) && point->x <= MOST &&
	       point->y >= (y_log ? LEAST : 0) && point->y <= MOST;
}

size_t chart_drawn(const struct chart *chart)
{
	size_t at, point, count = 0;

	for (at = 0; at < chart->count; at++)
		for (point = 0; point < chart->series[at].count; point++)
			count += is_drawn(chart, &chart->series[at].points[point]);
	return count;
}

/* Numbers that differ, in order; up to `most` of them. */
static size_t distinct_x(const struct chart *chart, double *values, size_t most)
{
	size_t at, point, place, count = 0;

	for (at = 0; at < chart->count; at++)
		for (point = 0; point < chart->series[at].count; point++) {
			double x = chart->series[at].points[point].x;

			for (place = 0; place < count && values[place] < x; place++)
				;
			if (!is_drawn(chart, &chart->series[at].points[point]) ||
			    (place < count && values[place] == x) || count == most)
				continue;
			memmove(values + place + 1, values + place,
				(count - place) * sizeof(*values));
			values[place] = x;
			count++;
		}
	return count;
}

size_t chart_breadth(const struct chart *chart)
{
	double values[TICS_MOST];

	return distinct_x(chart, values, TICS_MOST);
}

static double least_positive(const double *values, size_t count)
{
	size_t at;

	for (at = 0; at < count; at++)
		if (values[at] > 0)
			return values[at];
	return 1;
}

/* Where x stands: on a logarithmic axis 0 has a place of its own. */
static double place_of(const struct chart *chart, double x, double least)
{
	return chart->x_scale == CHART_LOG && x <= 0 ? least / 4 : x;
}

/* Of all that is drawn, intervals too. */
static struct range y_range(const struct chart *chart)
{
	struct range range = { INFINITY, -INFINITY };
	size_t at, point;

	for (at = 0; at < chart->count; at++)
		for (point = 0; point < chart->series[at].count; point++) {
			const struct chart_point *p = &chart->series[at].points[point];

			if (!is_drawn(chart, p))
				continue;
			range.low = fmin(range.low, p->y);
			range.high = fmax(range.high, p->y);
			if (isfinite(p->low) && isfinite(p->high)) {
				if (p->low >= LEAST)
					range.low = fmin(range.low, p->low);
				if (p->high <= MOST)
					range.high = fmax(range.high, p->high);
			}
		}
	return range;
}

static void write_label(FILE *to, double value, enum chart_scale scale)
{
	static const char *const times[] = { "ns", "\xc2\xb5s", "ms", "s" };
	static const char *const counts[] = { "", "k", "M", "G", "T" };
	size_t unit = 0, last = scale == CHART_LOG_NS ? 3 : 4;

	while (unit < last && value >= 999.9) {
		value /= 1000;
		unit++;
	}
	fprintf(to, "%.3g%s%s", value, scale == CHART_LOG_NS ? " " : "",
		scale == CHART_LOG_NS ? times[unit] : counts[unit]);
}

static void write_tic(FILE *to, bool *first, double at, double value, enum chart_scale scale)
{
	fputs(*first ? "'" : ", '", to);
	*first = false;
	write_label(to, value, scale);
	fprintf(to, "' %.9g", at);
}

/* 1, 10, 100; with 2 and 5 between where that leaves too few. */
static void write_log_tics(FILE *to, struct range range, enum chart_scale scale)
{
	static const double between[] = { 1, 2, 5 };
	double decades = log10(range.high / range.low);
	size_t steps = decades < 3 ? 3 : 1, at;
	double base = pow(10, floor(log10(range.low)));
	unsigned every = decades > 10 ? 3 : 1;
	bool first = true;

	for (; base <= range.high; base *= pow(10, every))
		for (at = 0; at < steps; at++)
			if (base * between[at] >= range.low * 0.999 &&
			    base * between[at] <= range.high * 1.001)
				write_tic(to, &first, base * between[at], base * between[at],
					  scale);
}

static void write_linear_tics(FILE *to, struct range range)
{
	double step = pow(10, floor(log10(range.high / 4)));
	bool first = true;
	double at;

	if (range.high / step > 15)
		step *= 5;
	else if (range.high / step > 6)
		step *= 2;
	for (at = 0; at <= range.high * 1.001; at += step)
		write_tic(to, &first, at, at, CHART_LINEAR);
}

/* Names are of the results: nothing in them may end the text that they stand in. */
static void write_quoted(FILE *to, const char *text)
{
	fputc('\'', to);
	for (; *text; text++) {
		if (*text == '\'')
			fputs("''", to);
		else
			fputc((unsigned char)*text < 0x20 || *text == '`' || *text == '\\' ? ' ' :
											     *text,
			      to);
	}
	fputc('\'', to);
}

static void write_y_axis(FILE *to, const struct chart *chart)
{
	struct range range = y_range(chart);
	size_t at;

	if (chart->y_scale == CHART_ROWS) {
		fprintf(to, "set yrange [%zu.6:0.4]\nset ytics scale 0 (", chart->row_count);
		for (at = 0; at < chart->row_count; at++) {
			fputs(at ? ", " : "", to);
			write_quoted(to, chart->rows[at]);
			fprintf(to, " %zu", at + 1);
		}
		fputs(")\n", to);
		return;
	}
	if (chart->y_scale == CHART_LINEAR) {
		range = (struct range){ 0, range.high > LEAST ? range.high * 1.15 : 1 };
		fputs("set ytics scale 0 (", to);
		write_linear_tics(to, range);
	} else {
		/* At least a factor of 20, so that a few tics stand in it and noise looks small. */
		double margin = fmax(1.6, sqrt(20 * range.low / range.high));

		range = (struct range){ range.low / margin, range.high * margin };
		fputs("set logscale y\nset ytics scale 0 (", to);
		write_log_tics(to, range, chart->y_scale);
	}
	fprintf(to, ")\nset yrange [%.9g:%.9g]\n", range.low, range.high);
}

static void write_x_axis(FILE *to, const struct chart *chart)
{
	double values[TICS_MOST], least, low, high, last = -1;
	size_t at, count = distinct_x(chart, values, TICS_MOST);
	bool log = is_log(chart->x_scale), first = true;

	least = least_positive(values, count);
	low = place_of(chart, values[0], least);
	high = place_of(chart, values[count - 1], least);
	if (log) {
		double margin = pow(fmax(high / low, 4), 0.06);

		low /= margin;
		high *= margin;
		fputs("set logscale x\n", to);
	} else {
		low = 0;
		high = high > 0 ? high * 1.05 : 1;
	}
	fprintf(to, "set xrange [%.9g:%.9g]\nset xtics scale 0.5 nomirror (", low, high);
	if (chart->x_scale == CHART_LOG_NS) {
		write_log_tics(to, (struct range){ low, high }, CHART_LOG_NS);
		count = 0;
	}
	for (at = 0; at < count; at++) {
		double x = place_of(chart, values[at], least);
		double share = log ? log10(x / low) / log10(high / low) : (x - low) / (high - low);

		if (last >= 0 && share - last < TICS_APART)
			continue;
		last = share;
		fputs(first ? "" : ", ", to);
		first = false;
		fputc('\'', to);
		html_number(to, values[at]);
		fprintf(to, "' %.9g", x);
	}
	fputs(")\n", to);
}

static int by_x(const void *a, const void *b)
{
	double left = ((const struct chart_point *)a)->x,
	       right = ((const struct chart_point *)b)->x;

	return (left > right) - (left < right);
}

/* x, y and the ends of the interval, which without one are y. */
static void write_data(FILE *to, struct chart *chart)
{
	double values[TICS_MOST], least;
	size_t at, point;

	least = least_positive(values, distinct_x(chart, values, TICS_MOST));
	for (at = 0; at < chart->count; at++) {
		struct chart_series *series = &chart->series[at];

		qsort(series->points, series->count, sizeof(*series->points), by_x);
		fprintf(to, "$s%zu << EOD\n", at);
		for (point = 0; point < series->count; point++) {
			const struct chart_point *p = &series->points[point];
			bool interval = isfinite(p->low) && isfinite(p->high) && p->low > 0;

			if (is_drawn(chart, p))
				fprintf(to, "%.9g %.9g %.9g %.9g\n", place_of(chart, p->x, least),
					p->y, interval ? p->low : p->y, interval ? p->high : p->y);
		}
		fputs("EOD\n", to);
	}
}

/* The best value at the lowest x of those series that go on from there, in proportion. */
static void write_ideal(FILE *to, const struct chart *chart)
{
	double values[TICS_MOST], best = 0;
	size_t at, point, count = distinct_x(chart, values, TICS_MOST);

	for (at = 0; at < chart->count; at++)
		for (point = 0; point < chart->series[at].count; point++)
			if (chart->series[at].count > 1 &&
			    chart->series[at].points[point].x == values[0] &&
			    is_drawn(chart, &chart->series[at].points[point]))
				best = fmax(best, chart->series[at].points[point].y);
	fprintf(to, "$ideal << EOD\n%.9g %.9g\n%.9g %.9g\nEOD\n", values[0], best,
		values[count - 1], best * values[count - 1] / values[0]);
}

static bool has_points(const struct chart *chart, const struct chart_series *series)
{
	size_t at;

	for (at = 0; at < series->count; at++)
		if (is_drawn(chart, &series->points[at]))
			return true;
	return false;
}

static void write_plot(FILE *to, const struct chart *chart, bool ideal)
{
	bool first = true;
	size_t at;

	fputs("plot ", to);
	if (ideal)
		fprintf(to, "$ideal using 1:2 with lines lw 1.5 dt (8,5) lc rgb 0x%06x",
			0x010200 + SVG_MUTED);
	first = !ideal;
	for (at = 0; at < chart->count; at++) {
		unsigned look = chart->series[at].look % SVG_SERIES_COUNT;
		int colour = 0x010200 + SVG_SERIES + (int)look;

		if (!has_points(chart, &chart->series[at]))
			continue;
		if (!chart->apart)
			fprintf(to,
				"%s$s%zu using 1:2 with lines lw 2 lc rgb 0x%06x, "
				"$s%zu using 1:2:3:4 with yerrorbars lw 1.5 pt 0 ps 0 lc rgb 0x%06x",
				first ? "" : ", ", at, colour, at, colour);
		fprintf(to, "%s$s%zu using 1:2 with points pt %d ps %s lc rgb 0x%06x",
			first && chart->apart ? "" : ", ", at, marks[look].number,
			look == 2 || look == 4 || look == 7 ? "1.15" : "0.95", colour);
		first = false;
	}
	fputc('\n', to);
}

void chart_script(FILE *to, struct chart *chart)
{
	bool rows = chart->y_scale == CHART_ROWS;
	double values[TICS_MOST];
	bool ideal = chart->ideal && distinct_x(chart, values, TICS_MOST) > 1 && values[0] > 0;

	fprintf(to,
		"set terminal svg size %d,%zu dynamic noenhanced font 'sans-serif,14'\n"
		"set encoding utf8\nset key off\nset errorbars small\n"
		"set border %d lw 1 lc rgb 0x%06x\nset grid %s lt 1 lw 1 lc rgb 0x%06x\n"
		"set rmargin 3\nset tmargin 1\n",
		WIDTH, rows ? ROWS_FRAME + chart->row_count * ROW_HEIGHT : (size_t)HEIGHT,
		rows ? 0 : 1, 0x010200 + SVG_AXIS, rows ? "xtics ytics" : "noxtics ytics",
		0x010200 + SVG_GRID);
	fputs("set tics textcolor rgb 'black'\n", to);
	if (chart->x_title)
		fprintf(to, "set xlabel '%s' textcolor rgb 'black'\n", chart->x_title);
	if (chart->y_title)
		fprintf(to, "set ylabel '%s' textcolor rgb 'black'\n", chart->y_title);
	write_y_axis(to, chart);
	write_x_axis(to, chart);
	write_data(to, chart);
	if (ideal)
		write_ideal(to, chart);
	write_plot(to, chart, ideal);
}
