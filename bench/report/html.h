/* SPDX-License-Identifier: MIT */
/* Pieces of the report's page: escaped text, numbers for people, tables. One thread for each `to`. */
#ifndef REFSTORM_BENCH_REPORT_HTML_H
#define REFSTORM_BENCH_REPORT_HTML_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/* What a column holds decides how its values are written; numbers stand at the right. */
enum html_kind {
	HTML_TEXT,    /* whole numbers are names here */
	HTML_COMMAND, /* a list is its words */
	HTML_NUMBER,
	HTML_NS, /* with the unit that fits: 12.3 ms */
	HTML_SECONDS,
	HTML_BYTES,
	HTML_SHARE, /* of 1, as a percentage */
};

struct html_column {
	const char *head;
	const char *key; /* of the object that a row shows */
	enum html_kind kind;
};

/* Any text of a file: escaped; control characters become U+FFFD. */
void html_text(FILE *to, const char *text);

/* How many bytes of `text` fit into `most` without cutting a character: for "%.*s". */
int html_cut(const char *text, int most);

/* 1,234 or 12.3: thousands set apart, three digits at least. Not finite: "unavailable". */
void html_number(FILE *to, double value);

/* As html_number, into `text`, which is returned; empty if that cannot be. */
#define HTML_NUMBER_BYTES 64
const char *html_number_text(char text[HTML_NUMBER_BYTES], double value);

/* As html_number, with a unit that fits. */
void html_duration(FILE *to, double ns);
void html_bytes(FILE *to, double bytes);

/* A value of any type: null and NULL are "unavailable", lists stand with commas. */
void html_value(FILE *to, const json_t *value, enum html_kind kind);

/* A table in a box that scrolls by itself. Text given is escaped. */
void html_table_open(FILE *to, const char *caption, const struct html_column *columns,
		     size_t count);
void html_table_close(FILE *to);

/* One cell. */
void html_cell(FILE *to, const json_t *value, enum html_kind kind);
void html_cell_text(FILE *to, const char *text);
void html_cell_number(FILE *to, double value);

/* A row for each object of `rows`, or one that says that there is none. */
void html_table(FILE *to, const char *caption, const struct html_column *columns, size_t count,
		const json_t *rows);

/* A table of two columns: each key of `object` with its value, a number; not those that are objects. */
void html_table_keys(FILE *to, const char *caption, const char *key_head, const char *value_head,
		     const json_t *object);

#endif /* REFSTORM_BENCH_REPORT_HTML_H */
