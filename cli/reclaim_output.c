// SPDX-License-Identifier: MIT
#include "cli/reclaim_output.h"

#include <inttypes.h>

#include "cli/text.h"

static const char *id_text(char *text, uint64_t id)
{
	snprintf(text, TEXT_SIZE_BYTES, "0/%" PRIu64, id);
	return text;
}

static void print_end(FILE *to, const struct rs_reclaim_entry *entry)
{
	if (entry->path)
		text_print_path(to, entry->path);
	fputc('\n', to);
}

static void print_each(FILE *to, const struct rs_reclaim_report *report, bool raw)
{
	char id[TEXT_SIZE_BYTES];
	char size[TEXT_SIZE_BYTES];
	size_t at;

	fprintf(to, "%-12s %14s  %s\n", "subvolume", "frees alone", "path");
	for (at = 0; at < report->each_count; at++) {
		fprintf(to, "%-12s %14s  ", id_text(id, report->each[at].id),
			text_size(size, report->each[at].bytes, raw));
		print_end(to, &report->each[at]);
	}
}

static void print_best(FILE *to, const struct rs_reclaim_report *report, bool raw)
{
	char id[TEXT_SIZE_BYTES];
	char size[2][TEXT_SIZE_BYTES];
	size_t at;

	fprintf(to, "%-12s %14s %14s  %s\n", "delete next", "frees then", "total", "path");
	for (at = 0; at < report->best_count; at++) {
		fprintf(to, "%-12s %14s %14s  ", id_text(id, report->best[at].id),
			text_size(size[0], report->best[at].bytes, raw),
			text_size(size[1], report->best[at].total, raw));
		print_end(to, &report->best[at]);
	}
}

void reclaim_print_table(FILE *to, const struct rs_reclaim_report *report, bool each, bool raw)
{
	char size[TEXT_SIZE_BYTES];

	if (each)
		print_each(to, report, raw);
	if (report->given)
		fprintf(to, "%s%s freed by deleting %zu subvolume%s\n",
			text_size(size, report->bytes, raw), raw ? " bytes" : "",
			report->given_count, report->given_count == 1 ? "" : "s");
	if (report->best)
		print_best(to, report, raw);
}

static json_t *json_id(const struct rs_reclaim_entry *entry)
{
	char id[TEXT_SIZE_BYTES];

	return json_string(id_text(id, entry->id));
}

static json_t *json_each(const struct rs_reclaim_entry *entry)
{
	return json_pack("{s:o, s:o}", "id", json_id(entry), "bytes", text_json_size(entry->bytes));
}

static json_t *json_best(const struct rs_reclaim_entry *entry)
{
	return json_pack("{s:o, s:o, s:o}", "id", json_id(entry), "bytes",
			 text_json_size(entry->bytes), "total", text_json_size(entry->total));
}

static json_t *json_entries(const struct rs_reclaim_entry *entries, size_t count,
			    json_t *(*make)(const struct rs_reclaim_entry *entry))
{
	json_t *all = json_array();
	size_t at;

	for (at = 0; at < count; at++)
		if (json_array_append_new(all, make(&entries[at]))) {
			json_decref(all);
			return NULL;
		}
	return all;
}

bool reclaim_write_json(FILE *to, const void *argument)
{
	const struct rs_reclaim_report *report = argument;
	json_t *best = report->best ? json_entries(report->best, report->best_count, json_best) :
				      json_null();

	return text_write_json(to,
			       json_pack("{s:s, s:o, s:o, s:o, s:o}", "schema",
					 "refstorm.reclaim.v1", "subvolumes",
					 json_entries(report->each, report->given_count, json_id),
					 "bytes", text_json_size(report->bytes), "each",
					 json_entries(report->each, report->each_count, json_each),
					 "best", best));
}
