// SPDX-License-Identifier: MIT
#include "cli/verify_output.h"

#include <inttypes.h>
#include <sys/resource.h>

#include "cli/text.h"

/* JSON has them all. */
#define REF_ERRORS_SHOWN 100

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

static const char *stored_text(char *text, const struct rs_group *group, uint64_t bytes, bool raw)
{
	return group->has_stored ? text_size(text, bytes, raw) : "-";
}

static void print_group(FILE *to, const struct rs_group *group, bool raw)
{
	static const char *const marks[] = {
		[RS_MATCH_NO] = "DIFFERS",
		[RS_MATCH_YES] = "ok",
		[RS_MATCH_UNKNOWN] = "-",
	};
	char id[TEXT_SIZE_BYTES];
	char size[4][TEXT_SIZE_BYTES];

	snprintf(id, sizeof(id), "%u/%" PRIu64, group->level, group->number);
	fprintf(to, "%-12s %14s %14s %14s %14s  %-7s ", id, text_size(size[0], group->rfer, raw),
		text_size(size[1], group->excl, raw),
		stored_text(size[2], group, group->stored_rfer, raw),
		stored_text(size[3], group, group->stored_excl, raw), marks[group->match]);
	if (group->path)
		text_print_path(to, group->path);
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

static void print_refs(FILE *to, const struct backref_report *refs)
{
	size_t at;

	for (at = 0; at < refs->errors_kept && at < REF_ERRORS_SHOWN; at++)
		fprintf(to, "%s at %" PRIu64 ": %s\n", backref_kind_name(refs->errors[at].kind),
			refs->errors[at].bytenr, refs->errors[at].detail);
	if (refs->error_count > REF_ERRORS_SHOWN)
		fprintf(to, "... and %" PRIu64 " more\n", refs->error_count - REF_ERRORS_SHOWN);
	fprintf(to,
		"%" PRIu64 " back references of %" PRIu64 " extents, %" PRIu64 " wrong; %" PRIu64
		" tree blocks of all trees; %.3f s\n",
		refs->backrefs, refs->extents, refs->error_count, refs->tree_blocks, refs->seconds);
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
	if (run->refs)
		print_refs(to, run->refs);
}

static json_t *json_group(const struct rs_group *group)
{
	char id[TEXT_SIZE_BYTES];
	json_t *match = group->match == RS_MATCH_UNKNOWN ?
				json_null() :
				json_boolean(group->match == RS_MATCH_YES);

	snprintf(id, sizeof(id), "%u/%" PRIu64, group->level, group->number);
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", id, "path",
			 group->path ? text_json_path(group->path) : json_null(), "rfer",
			 text_json_size(group->rfer), "excl", text_json_size(group->excl),
			 "data_rfer", text_json_size(group->data_rfer), "data_excl",
			 text_json_size(group->data_excl), "stored_rfer",
			 group->has_stored ? text_json_size(group->stored_rfer) : json_null(),
			 "stored_excl",
			 group->has_stored ? text_json_size(group->stored_excl) : json_null(),
			 "match", match);
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

static json_t *json_devices(const struct rs_image *image)
{
	json_t *texts = json_array();
	const char *path;
	size_t at;

	for (at = 0; (path = rs_image_device(image, at)) != NULL; at++)
		json_array_append_new(texts, text_json_path(path));
	return texts;
}

static json_t *json_warnings(struct rs_image *image)
{
	json_t *texts = json_array();
	size_t at;

	for (at = 0; at < rs_image_warning_count(image); at++)
		json_array_append_new(texts, text_json_path(rs_image_warning(image, at)));
	return texts;
}

static json_t *json_refs(const struct backref_report *refs)
{
	json_t *errors;
	size_t at;

	if (!refs)
		return json_null();
	errors = json_array();
	for (at = 0; at < refs->errors_kept; at++) {
		const struct backref_error *error = &refs->errors[at];

		json_array_append_new(errors, json_pack("{s:s, s:o, s:s}", "kind",
							backref_kind_name(error->kind), "bytenr",
							text_json_size(error->bytenr), "detail",
							error->detail));
	}
	return json_pack("{s:I, s:I, s:I, s:o}", "extents", (json_int_t)refs->extents,
			 "tree_blocks", (json_int_t)refs->tree_blocks, "backrefs",
			 (json_int_t)refs->backrefs, "errors", errors);
}

bool verify_write_json(FILE *to, const void *argument)
{
	const struct verify_run *run = argument;
	const struct rs_verify_report *report = run->report;
	json_t *all =
		json_pack("{s:s, s:o, s:I, s:s, s:b, s:o, s:o, s:I, s:o, s:{s:I, s:I, s:I},"
			  " s:{s:f, s:f, s:o, s:f}, s:I, s:o}",
			  "schema", "refstorm.verify.v1", "image", json_devices(run->image),
			  "generation", (json_int_t)report->generation, "mode",
			  mode_names[report->mode], "inconsistent", report->inconsistent, "rescan",
			  report->rescanning ? text_json_size(report->rescan_at) : json_null(),
			  "groups", json_groups(report), "referenced_bytes",
			  (json_int_t)report->referenced_bytes, "refs", json_refs(run->refs),
			  "root_sets", "distinct", (json_int_t)report->root_sets, "runs",
			  (json_int_t)report->root_set_runs, "bytes",
			  (json_int_t)report->root_set_bytes, "seconds", "read",
			  report->read_seconds, "sets", report->sets_seconds, "refs",
			  run->refs ? json_real(run->refs->seconds) : json_null(), "total",
			  report->total_seconds + (run->refs ? run->refs->seconds : 0),
			  "peak_rss_bytes", (json_int_t)peak_rss_bytes(), "warnings",
			  json_warnings(run->image));

	return text_write_json(to, all);
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

bool verify_write_csv(FILE *to, const void *argument)
{
	const struct verify_run *run = argument;
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
