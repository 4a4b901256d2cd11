// SPDX-License-Identifier: MIT
/* What is no sweep: profile, stress, verify, and what failed. */
#include <stdbool.h>
#include <string.h>

#include "bench/report/html.h"
#include "bench/report/sections.h"

static void open_section(struct page *page, const char *id, const char *head, const char *file)
{
	fprintf(page->to, "<section id=\"%s\">\n<h2>%s <span class=\"file\">", id, head);
	html_text(page->to, file);
	fputs("</span></h2>\n", page->to);
}

/* A list of a term and a value each; values of any type. */
struct fact {
	const char *name;
	const char *key;
	enum html_kind kind;
};

static void write_facts(FILE *to, const struct fact *facts, size_t count, const json_t *object)
{
	size_t at;

	fputs("<dl class=\"facts\">\n", to);
	for (at = 0; at < count; at++) {
		fprintf(to, "<div><dt>%s</dt><dd>", facts[at].name);
		html_value(to, json_object_get(object, facts[at].key), facts[at].kind);
		fputs("</dd></div>\n", to);
	}
	fputs("</dl>\n", to);
}

#define WRITE_FACTS(to, facts, object)                                                             \
	write_facts(to, facts, sizeof(facts) / sizeof((facts)[0]), object)

void section_locks(struct page *page, const char *caption, const json_t *object)
{
	static const struct html_column columns[] = {
		{ "lock", "name", HTML_TEXT },
		{ "rank", "rank", HTML_NUMBER },
		{ "acquisitions", "acquisitions", HTML_NUMBER },
		{ "contended", "contended", HTML_NUMBER },
		{ "wait", "wait_ns", HTML_NS },
		{ "wait p99", "wait_ns_p99", HTML_NS },
		{ "longest wait", "wait_ns_max", HTML_NS },
		{ "held", "hold_ns", HTML_NS },
		{ "longest held", "hold_ns_max", HTML_NS },
	};

	html_table(page->to, caption, columns, sizeof(columns) / sizeof(columns[0]),
		   json_object_get(object, "locks"));
}

/* The drawing and the functions of on_cpu or off_cpu. */
static void write_flames(struct page *page, const char *title, const json_t *cpu)
{
	static const struct html_column columns[] = {
		{ "function", "function", HTML_TEXT },
		{ "share", "share", HTML_SHARE },
	};
	const char *name = input_string(cpu, "svg");
	char note[100] = "", number[HTML_NUMBER_BYTES];

	if (!json_is_object(cpu)) {
		fprintf(page->to, "<p class=\"absent\">%s: unavailable.</p>\n", title);
		return;
	}
	if (json_is_integer(json_object_get(cpu, "samples")))
		snprintf(note, sizeof(note), "%s samples.",
			 html_number_text(number, input_number(cpu, "samples")));
	figure_drawing(page, title, note, name ? name : "");
	figure_data_open(page);
	html_table(page->to, title, columns, 2, json_object_get(cpu, "top"));
	figure_data_close(page);
	figure_close(page);
}

static void write_notes(FILE *to, const json_t *notes)
{
	json_t *note;
	size_t at;

	if (!json_array_size(notes))
		return;
	fputs("<ul class=\"notes\">\n", to);
	json_array_foreach((json_t *)notes, at, note)
	{
		fputs("<li>", to);
		html_value(to, note, HTML_TEXT);
		fputs("</li>\n", to);
	}
	fputs("</ul>\n", to);
}

void section_profile(struct page *page)
{
	static const struct fact facts[] = {
		{ "Workload", "workload", HTML_TEXT },
		{ "Engine", "engine", HTML_TEXT },
		{ "Record", "record", HTML_TEXT },
		{ "Threads", "threads", HTML_NUMBER },
		{ "Snapshots", "snapshots", HTML_NUMBER },
		{ "Time", "seconds", HTML_SECONDS },
		{ "Operations", "operations", HTML_NUMBER },
		{ "CPU time", "cpu_seconds", HTML_SECONDS },
	};
	static const struct fact waits[] = {
		{ "Waits for a grace period", "count", HTML_NUMBER },
		{ "All together", "wait_ns", HTML_NS },
		{ "Longest", "wait_ns_max", HTML_NS },
	};
	const struct input_file *file = &page->input->one[INPUT_PROFILE];

	if (!file->root)
		return;
	open_section(page, "profile", "Profile", file->name);
	WRITE_FACTS(page->to, facts, file->root);
	write_notes(page->to, json_object_get(file->root, "notes"));
	fputs("<h3>Where the time goes</h3>\n", page->to);
	write_flames(page, "On a CPU", json_object_get(file->root, "on_cpu"));
	write_flames(page, "Off the CPU: waiting", json_object_get(file->root, "off_cpu"));
	fputs("<h3>Locks</h3>\n", page->to);
	section_locks(page, "Locks of the profile", file->root);
	fputs("<h3>Retries and waits</h3>\n", page->to);
	html_table_keys(page->to, "Retries without a lock", "place", "retries",
			json_object_get(file->root, "retries"));
	WRITE_FACTS(page->to, waits, json_object_get(file->root, "grace_waits"));
	fputs("</section>\n", page->to);
}

static void write_verdict(FILE *to, const char *verdict)
{
	bool good = verdict && !strcmp(verdict, "pass");

	fprintf(to, "<p class=\"verdict %s\"><strong>", good ? "good" : "bad");
	if (verdict)
		html_text(to, verdict);
	else
		fputs("unavailable", to);
	fputs("</strong></p>\n", to);
}

void section_stress(struct page *page)
{
	static const struct fact facts[] = {
		{ "Seed", "seed", HTML_TEXT },          { "Rounds", "rounds", HTML_NUMBER },
		{ "Time", "seconds", HTML_SECONDS },    { "Engines", "engines", HTML_TEXT },
		{ "Command", "command", HTML_COMMAND },
	};
	static const struct fact failure[] = {
		{ "Round", "round", HTML_NUMBER },
		{ "Seed", "seed", HTML_TEXT },
		{ "Why", "why", HTML_TEXT },
		{ "Artifacts", "artifacts", HTML_TEXT },
		{ "Replayed with", "replay", HTML_COMMAND },
	};
	const struct input_file *file = &page->input->one[INPUT_STRESS];
	const json_t *faults = json_object_get(file->root, "faults");
	FILE *to = page->to;

	if (!file->root)
		return;
	open_section(page, "stress", "Stress", file->name);
	write_verdict(to, input_string(file->root, "verdict"));
	WRITE_FACTS(to, facts, file->root);
	if (json_is_object(json_object_get(file->root, "failure"))) {
		fputs("<h3>Failure</h3>\n", to);
		WRITE_FACTS(to, failure, json_object_get(file->root, "failure"));
	}
	fputs("<div class=\"beside\">\n", to);
	html_table_keys(to, "Operations", "operation", "count",
			json_object_get(file->root, "operations"));
	html_table_keys(to, "Checks", "check", "count", json_object_get(file->root, "checks"));
	html_table_keys(to, "Faults injected", "fault", "count", faults);
	html_table_keys(to, "Operations refused", "error", "count",
			json_object_get(file->root, "operations_failed"));
	html_table_keys(to, "Profiles", "profile", "rounds",
			json_object_get(file->root, "profiles"));
	html_table_keys(to, "Stalls at labelled windows", "window", "stalls",
			json_object_get(faults, "windows"));
	fputs("</div>\n</section>\n", to);
}

/* How many groups have this "match". */
static size_t count_matches(const json_t *groups, json_type type)
{
	size_t at, count = 0;
	json_t *group;

	json_array_foreach((json_t *)groups, at, group)
	{
		const json_t *match = json_object_get(group, "match");

		count += match && json_typeof(match) == type;
	}
	return count;
}

static void write_refs(FILE *to, const json_t *refs)
{
	static const struct fact facts[] = {
		{ "Extents", "extents", HTML_NUMBER },
		{ "Tree blocks", "tree_blocks", HTML_NUMBER },
		{ "Back references", "backrefs", HTML_NUMBER },
	};
	static const struct html_column columns[] = {
		{ "kind", "kind", HTML_TEXT },
		{ "at", "bytenr", HTML_NUMBER },
		{ "what", "detail", HTML_TEXT },
	};

	fputs("<h3>Back references</h3>\n", to);
	if (!json_is_object(refs)) {
		fputs("<p class=\"absent\">unavailable</p>\n", to);
		return;
	}
	WRITE_FACTS(to, facts, refs);
	html_table(to, "Back references that are wrong", columns, 3,
		   json_object_get(refs, "errors"));
}

void section_verify(struct page *page)
{
	static const struct fact facts[] = {
		{ "Image", "image", HTML_TEXT },
		{ "Generation", "generation", HTML_NUMBER },
		{ "Quotas", "mode", HTML_TEXT },
		{ "Marked inconsistent", "inconsistent", HTML_TEXT },
		{ "Referenced", "referenced_bytes", HTML_BYTES },
		{ "Peak memory", "peak_rss_bytes", HTML_BYTES },
	};
	static const struct html_column columns[] = {
		{ "group", "id", HTML_TEXT },
		{ "path", "path", HTML_TEXT },
		{ "referenced", "rfer", HTML_BYTES },
		{ "exclusive", "excl", HTML_BYTES },
		{ "stored referenced", "stored_rfer", HTML_BYTES },
		{ "stored exclusive", "stored_excl", HTML_BYTES },
		{ "match", "match", HTML_TEXT },
	};
	const struct input_file *file = &page->input->one[INPUT_VERIFY];
	const json_t *groups = json_object_get(file->root, "groups");
	FILE *to = page->to;
	size_t differ;

	if (!file->root)
		return;
	differ = count_matches(groups, JSON_FALSE);
	open_section(page, "verify", "Verify", file->name);
	fprintf(to,
		"<p class=\"verdict %s\"><strong>%zu</strong> of %zu groups match, "
		"<strong>%zu</strong> differ</p>\n",
		differ ? "bad" : "good", count_matches(groups, JSON_TRUE), json_array_size(groups),
		differ);
	WRITE_FACTS(to, facts, file->root);
	write_notes(to, json_object_get(file->root, "warnings"));
	html_table(to, "Groups of the image, counted and as stored", columns,
		   sizeof(columns) / sizeof(columns[0]), groups);
	write_refs(to, json_object_get(file->root, "refs"));
	fputs("</section>\n", to);
}
