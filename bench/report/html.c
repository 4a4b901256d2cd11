// SPDX-License-Identifier: MIT
#include "bench/report/html.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define UNAVAILABLE "<span class=\"none\">unavailable</span>"
/* Deeper lists are nothing that a result has. */
#define VALUE_DEPTH 4

void html_text(FILE *to, const char *text)
{
	for (; *text; text++) {
		unsigned char letter = (unsigned char)*text;

		switch (letter) {
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '&':
			fputs("&amp;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		case '\'':
			fputs("&#39;", to);
			break;
		default:
			if ((letter < 0x20 && letter != '\n' && letter != '\t') || letter == 0x7f)
				fputs("\xef\xbf\xbd", to);
			else
				fputc(letter, to);
		}
	}
}

int html_cut(const char *text, int most)
{
	int length = (int)strnlen(text, (size_t)most + 1);

	if (length <= most)
		return length;
	length = most;
	while (length && ((unsigned char)text[length] & 0xc0) == 0x80)
		length--;
	return length;
}

static void write_digits(FILE *to, const char *digits, size_t count)
{
	size_t at;

	for (at = 0; at < count; at++) {
		if (at && (count - at) % 3 == 0)
			fputc(',', to);
		fputc(digits[at], to);
	}
}

/* Digits behind the point, so that at least three digits count. */
static int places_of(double value)
{
	double size = fabs(value);

	if (size >= 100 || value == rint(value))
		return 0;
	if (size >= 10)
		return 1;
	return size >= 1 ? 2 : 3;
}

void html_number(FILE *to, double value)
{
	char text[64];
	const char *digits = text;
	size_t whole;

	if (!isfinite(value)) {
		fputs(UNAVAILABLE, to);
		return;
	}
	if (fabs(value) >= 1e18 || (value != 0 && fabs(value) < 0.001)) {
		fprintf(to, "%.3g", value);
		return;
	}
	snprintf(text, sizeof(text), "%.*f", places_of(value), value);
	if (*digits == '-') {
		fputs("\xe2\x88\x92", to);
		digits++;
	}
	whole = strspn(digits, "0123456789");
	write_digits(to, digits, whole);
	fputs(digits + whole, to);
}

const char *html_number_text(char text[HTML_NUMBER_BYTES], double value)
{
	FILE *to = fmemopen(text, HTML_NUMBER_BYTES, "w");

	text[0] = 0;
	if (to) {
		html_number(to, value);
		fclose(to);
	}
	return text;
}

/* `value` in the largest of `units` in which it is at least 1, each `step` of the one before. */
static void write_scaled(FILE *to, double value, double step, const char *const *units,
			 size_t count)
{
	size_t unit = 0;

	if (!isfinite(value)) {
		fputs(UNAVAILABLE, to);
		return;
	}
	while (unit + 1 < count && fabs(value) >= step) {
		value /= step;
		unit++;
	}
	html_number(to, unit ? rint(value * 100) / 100 : value);
	fprintf(to, "&nbsp;%s", units[unit]);
}

void html_duration(FILE *to, double ns)
{
	static const char *const units[] = { "ns", "\xc2\xb5s", "ms", "s" };

	write_scaled(to, ns, 1000, units, sizeof(units) / sizeof(units[0]));
}

void html_bytes(FILE *to, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };

	write_scaled(to, bytes, 1024, units, sizeof(units) / sizeof(units[0]));
}

/* All digits: a double has 53 bits only. */
static void write_integer(FILE *to, json_int_t value)
{
	char text[32];
	const char *digits = text;

	snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, value);
	if (*digits == '-') {
		fputs("\xe2\x88\x92", to);
		digits++;
	}
	write_digits(to, digits, strlen(digits));
}

static void write_number(FILE *to, const json_t *value, enum html_kind kind)
{
	double number = json_number_value(value);

	switch (kind) {
	case HTML_NS:
		html_duration(to, number);
		break;
	case HTML_SECONDS:
		html_number(to, number);
		fputs("&nbsp;s", to);
		break;
	case HTML_BYTES:
		html_bytes(to, number);
		break;
	case HTML_SHARE:
		html_number(to, rint(number * 1000) / 10);
		fputs("&nbsp;%", to);
		break;
	default:
		if (json_is_integer(value) && kind <= HTML_COMMAND)
			fprintf(to, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		else if (json_is_integer(value))
			write_integer(to, json_integer_value(value));
		else
			html_number(to, number);
	}
}

static void write_value(FILE *to, const json_t *value, enum html_kind kind, unsigned depth)
{
	json_t *each;
	const char *key;
	size_t at;

	if (json_is_string(value)) {
		html_text(to, json_string_value(value));
	} else if (json_is_number(value)) {
		write_number(to, value, kind);
	} else if (json_is_boolean(value)) {
		fputs(json_is_true(value) ? "yes" : "no", to);
	} else if (json_is_array(value) && json_array_size(value) && depth < VALUE_DEPTH) {
		json_array_foreach((json_t *)value, at, each)
		{
			fputs(!at ? "" : kind == HTML_COMMAND ? " " : ", ", to);
			write_value(to, each, kind, depth + 1);
		}
	} else if (json_is_object(value) && json_object_size(value) && depth < VALUE_DEPTH) {
		bool first = true;

		json_object_foreach((json_t *)value, key, each)
		{
			fputs(first ? "" : ", ", to);
			first = false;
			html_text(to, key);
			fputs(": ", to);
			write_value(to, each, kind, depth + 1);
		}
	} else if (json_is_array(value) || json_is_object(value)) {
		fputs(depth < VALUE_DEPTH ? "none" : "\xe2\x80\xa6", to);
	} else {
		fputs(UNAVAILABLE, to);
	}
}

void html_value(FILE *to, const json_t *value, enum html_kind kind)
{
	write_value(to, value, kind, 0);
}

void html_table_open(FILE *to, const char *caption, const struct html_column *columns, size_t count)
{
	size_t at;

	fputs("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"", to);
	html_text(to, caption);
	fputs("\"><table><caption>", to);
	html_text(to, caption);
	fputs("</caption>\n<thead><tr>", to);
	for (at = 0; at < count; at++) {
		fprintf(to, "<th scope=\"col\"%s>",
			columns[at].kind <= HTML_COMMAND ? "" : " class=\"n\"");
		html_text(to, columns[at].head);
		fputs("</th>", to);
	}
	fputs("</tr></thead>\n<tbody>\n", to);
}

void html_table_close(FILE *to)
{
	fputs("</tbody></table></div>\n", to);
}

void html_cell(FILE *to, const json_t *value, enum html_kind kind)
{
	fputs(kind <= HTML_COMMAND ? "<td>" : "<td class=\"n\">", to);
	html_value(to, value, kind);
	fputs("</td>", to);
}

void html_cell_text(FILE *to, const char *text)
{
	fputs("<td>", to);
	if (text)
		html_text(to, text);
	else
		fputs(UNAVAILABLE, to);
	fputs("</td>", to);
}

void html_cell_number(FILE *to, double value)
{
	fputs("<td class=\"n\">", to);
	html_number(to, value);
	fputs("</td>", to);
}

void html_table(FILE *to, const char *caption, const struct html_column *columns, size_t count,
		const json_t *rows)
{
	size_t at, column;
	json_t *row;

	html_table_open(to, caption, columns, count);
	json_array_foreach((json_t *)rows, at, row)
	{
		fputs("<tr>", to);
		for (column = 0; column < count; column++)
			html_cell(to, json_object_get(row, columns[column].key),
				  columns[column].kind);
		fputs("</tr>\n", to);
	}
	if (!json_array_size(rows))
		fprintf(to, "<tr><td colspan=\"%zu\" class=\"none\">%s</td></tr>\n", count,
			json_is_array(rows) ? "none" : "unavailable");
	html_table_close(to);
}

void html_table_keys(FILE *to, const char *caption, const char *key_head, const char *value_head,
		     const json_t *object)
{
	const struct html_column columns[] = { { key_head, NULL, HTML_TEXT },
					       { value_head, NULL, HTML_NUMBER } };
	const char *key;
	json_t *value;

	html_table_open(to, caption, columns, 2);
	json_object_foreach((json_t *)object, key, value)
	{
		if (json_is_object(value))
			continue;
		fputs("<tr>", to);
		html_cell_text(to, key);
		html_cell(to, value, HTML_NUMBER);
		fputs("</tr>\n", to);
	}
	if (!json_object_size(object))
		fprintf(to, "<tr><td colspan=\"2\" class=\"none\">%s</td></tr>\n",
			json_is_object(object) ? "none" : "unavailable");
	html_table_close(to);
}
