// SPDX-License-Identifier: MIT
#include "cli/verify_output.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define SIZE_TEXT_BYTES 32

static const char *const mode_names[] = {
	[RS_QUOTA_OFF] = "off",
	[RS_QUOTA_FULL] = "full",
	[RS_QUOTA_SIMPLE] = "simple",
};

static uint64_t peak_rss_bytes(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)usage.ru_maxrss * 1024;
}

/* "12.00 MiB"; in bytes if `raw`. */
static const char *size_text(char *text, uint64_t bytes, bool raw)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	unsigned unit = 0;

	while (value >= 1024 && unit < sizeof(units) / sizeof(units[0]) - 1) {
		value /= 1024;
		unit++;
	}
	if (raw)
		snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64, bytes);
	else if (!unit)
		snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 " B", bytes);
	else
		snprintf(text, SIZE_TEXT_BYTES, "%.2f %s", value, units[unit]);
	return text;
}

static const char *stored_text(char *text, const struct rs_group *group, uint64_t bytes, bool raw)
{
	return group->has_stored ? size_text(text, bytes, raw) : "-";
}

/* Names come from the image: control characters would reach the terminal. */
static void print_path(FILE *to, const char *path)
{
	for (; *path; path++) {
		unsigned char letter = (unsigned char)*path;

		if (letter < 0x20 || letter == 0x7f)
			fprintf(to, "\\x%02x", letter);
		else
			fputc(letter, to);
	}
}

static void print_group(FILE *to, const struct rs_group *group, bool raw)
{
	static const char *const marks[] = {
		[RS_MATCH_NO] = "DIFFERS",
		[RS_MATCH_YES] = "ok",
		[RS_MATCH_UNKNOWN] = "-",
	};
	char id[SIZE_TEXT_BYTES];
	char size[4][SIZE_TEXT_BYTES];

	snprintf(id, sizeof(id), "%u/%" PRIu64, group->level, group->number);
	fprintf(to, "%-12s %14s %14s %14s %14s  %-7s ", id, size_text(size[0], group->rfer, raw),
		size_text(size[1], group->excl, raw),
		stored_text(size[2], group, group->stored_rfer, raw),
		stored_text(size[3], group, group->stored_excl, raw), marks[group->match]);
	if (group->path)
		print_path(to, group->path);
	fputc('\n', to);
}

static void print_counts(FILE *to, const struct rs_verify_report *report)
{
	double runs =
		report->root_sets ? (double)report->root_set_runs / (double)report->root_sets : 0;

	fprintf(to,
		"%zu groups, %zu differ; %" PRIu64 " tree blocks, %" PRIu64
		" data extents, %" PRIu64
		" root sets of %.2f runs; read %.3f s, sets %.3f s, total %.3f s on %u threads\n",
		report->group_count, report->mismatches, report->tree_blocks, report->data_extents,
		report->root_sets, runs, report->read_seconds, report->sets_seconds,
		report->total_seconds, report->threads);
}

void verify_print_table(FILE *to, const struct verify_run *run, bool raw)
{
	const struct rs_verify_report *report = run->report;
	size_t at;

	fprintf(to, "%-12s %14s %14s %14s %14s  %-7s %s\n", "group", "rfer", "excl", "stored rfer",
		"stored excl", "", "path");
	for (at = 0; at < report->group_count; at++)
		print_group(to, &report->groups[at], raw);
	if (report->mode == RS_QUOTA_OFF)
		fputs("Quotas are off: the numbers are those of full accounting.\n", to);
	if (report->mode == RS_QUOTA_SIMPLE)
		fputs("Quotas are simple: the numbers are by owner.\n", to);
	if (report->mode != RS_QUOTA_OFF && report->inconsistent)
		fputs("The stored numbers are marked inconsistent, and may differ.\n", to);
	if (report->mode != RS_QUOTA_OFF && report->rescanning)
		fprintf(to,
			"A rescan is under way, at %" PRIu64 ": the stored numbers may differ.\n",
			report->rescan_at);
	print_counts(to, report);
}

/*
 * Numbers that went below zero are found in real quota trees, and the library's
 * integers end at 2^63. Those above it become a string that begins with a zero
 * byte, which no path can have, and write_numbers takes the quotes off again.
 */
static json_t *json_size(uint64_t bytes)
{
	char text[SIZE_TEXT_BYTES] = { 0 };
	int digits;

	if (bytes <= INT64_MAX)
		return json_integer((json_int_t)bytes);
	digits = snprintf(text + 1, sizeof(text) - 1, "%" PRIu64, bytes);
	return json_stringn(text, (size_t)digits + 1);
}

static void write_numbers(FILE *to, const char *text)
{
	static const char mark[] = "\"\\u0000";
	const char *found;

	while ((found = strstr(text, mark)) != NULL) {
		const char *digits = found + sizeof(mark) - 1;
		size_t count = strspn(digits, "0123456789");

		fwrite(text, 1, (size_t)(found - text), to);
		fwrite(digits, 1, count, to);
		text = digits + count + 1; /* the closing quote */
	}
	fprintf(to, "%s\n", text);
}

/* Paths are bytes; JSON is UTF-8: what is not becomes a replacement character. */
static json_t *json_path(const char *path)
{
	json_t *text = json_string(path);
	char *clean;
	size_t out = 0;

	if (text)
		return text;
	clean = malloc(strlen(path) * 3 + 1);
	if (!clean)
		return NULL;
	for (; *path; path++) {
		if ((unsigned char)*path < 0x80) {
			clean[out++] = *path;
		} else {
			memcpy(clean + out, "\xef\xbf\xbd", 3);
			out += 3;
		}
	}
	clean[out] = 0;
	text = json_string(clean);
	free(clean);
	return text;
}

static json_t *json_group(const struct rs_group *group)
{
	char id[SIZE_TEXT_BYTES];
	json_t *match = group->match == RS_MATCH_UNKNOWN ?
				json_null() :
				json_boolean(group->match == RS_MATCH_YES);

	snprintf(id, sizeof(id), "%u/%" PRIu64, group->level, group->number);
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", id, "path",
			 group->path ? json_path(group->path) : json_null(), "rfer",
			 json_size(group->rfer), "excl", json_size(group->excl), "data_rfer",
			 json_size(group->data_rfer), "data_excl", json_size(group->data_excl),
			 "stored_rfer",
			 group->has_stored ? json_size(group->stored_rfer) : json_null(),
			 "stored_excl",
			 group->has_stored ? json_size(group->stored_excl) : json_null(), "match",
			 match);
}

static json_t *json_groups(const struct rs_verify_report *report)
{
	json_t *groups = json_array();
	size_t at;

	for (at = 0; at < report->group_count; at++)
		if (json_array_append_new(groups, json_group(&report->groups[at]))) {
			json_decref(groups);
			return NULL;
		}
	return groups;
}

static json_t *json_texts(const struct verify_run *run, bool warnings)
{
	size_t count = warnings ? rs_image_warning_count(run->image) : run->path_count;
	json_t *texts = json_array();
	size_t at;

	for (at = 0; at < count; at++)
		if (json_array_append_new(texts,
					  json_path(warnings ? rs_image_warning(run->image, at) :
							       run->paths[at]))) {
			json_decref(texts);
			return NULL;
		}
	return texts;
}

bool verify_write_json(FILE *to, const struct verify_run *run)
{
	const struct rs_verify_report *report = run->report;
	json_t *all =
		json_pack("{s:s, s:o, s:I, s:s, s:b, s:o, s:o, s:I, s:n, s:{s:I, s:I, s:I},"
			  " s:{s:f, s:f, s:n, s:f}, s:I, s:o}",
			  "schema", "refstorm.verify.v1", "image", json_texts(run, false),
			  "generation", (json_int_t)report->generation, "mode",
			  mode_names[report->mode], "inconsistent", report->inconsistent, "rescan",
			  report->rescanning ? json_size(report->rescan_at) : json_null(), "groups",
			  json_groups(report), "referenced_bytes",
			  (json_int_t)report->referenced_bytes, "refs", "root_sets", "distinct",
			  (json_int_t)report->root_sets, "runs", (json_int_t)report->root_set_runs,
			  "bytes", (json_int_t)report->root_set_bytes, "seconds", "read",
			  report->read_seconds, "sets", report->sets_seconds, "refs", "total",
			  report->total_seconds, "peak_rss_bytes", (json_int_t)peak_rss_bytes(),
			  "warnings", json_texts(run, true));
	char *text = all ? json_dumps(all, JSON_INDENT(1)) : NULL;

	json_decref(all);
	if (!text)
		return false;
	write_numbers(to, text);
	free(text);
	return !ferror(to);
}

/* Quoted as in RFC 4180. */
static void write_csv_text(FILE *to, const char *text)
{
	fputc('"', to);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', to);
		fputc(*text, to);
	}
	fputc('"', to);
}

bool verify_write_csv(FILE *to, const struct verify_run *run)
{
	static const char *const matches[] = {
		[RS_MATCH_NO] = "false",
		[RS_MATCH_YES] = "true",
		[RS_MATCH_UNKNOWN] = "",
	};
	size_t at;

	fputs("id,path,rfer,excl,data_rfer,data_excl,stored_rfer,stored_excl,match\n", to);
	for (at = 0; at < run->report->group_count; at++) {
		const struct rs_group *group = &run->report->groups[at];

		fprintf(to, "%u/%" PRIu64 ",", group->level, group->number);
		if (group->path)
			write_csv_text(to, group->path);
		fprintf(to, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",", group->rfer,
			group->excl, group->data_rfer, group->data_excl);
		if (group->has_stored)
			fprintf(to, "%" PRIu64 ",%" PRIu64 ",", group->stored_rfer,
				group->stored_excl);
		else
			fputs(",,", to);
		fprintf(to, "%s\n", matches[group->match]);
	}
	return !ferror(to);
}
