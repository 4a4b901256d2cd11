/* SPDX-License-Identifier: MIT */
#include "cli/mutants_output.h"

#include <string.h>

#include "cli/text.h"

const char *mutants_end_text(char *text, const struct child_end *end)
{
	const char *name;

	switch (end->how) {
	case CHILD_EXITED:
		snprintf(text, MUTANTS_TEXT_BYTES, "exit %d", end->number);
		break;
	case CHILD_SIGNALED:
		name = sigdescr_np(end->number);
		snprintf(text, MUTANTS_TEXT_BYTES, "signal %d (%s)", end->number,
			 name ? name : "unknown");
		break;
	case CHILD_TIMED_OUT:
		snprintf(text, MUTANTS_TEXT_BYTES, "no end in %.0f s", end->seconds);
		break;
	default:
		snprintf(text, MUTANTS_TEXT_BYTES, "canceled");
		break;
	}
	return text;
}

/* What is wrong with it; NULL for one that was caught. */
static const char *output_complaint(const struct mutant *mutant)
{
	switch (mutant->state) {
	case MUTANT_CAUGHT:
		return NULL;
	case MUTANT_SURVIVED:
		return "survived: the test passes";
	case MUTANT_NOT_REACHED:
		return "never reached: is the build up to date?";
	case MUTANT_TIMED_OUT:
		return "not caught in time";
	case MUTANT_SKIPPED:
		return "the test skipped itself";
	case MUTANT_KILLED:
		return "the test was killed";
	case MUTANT_NO_CONTROL:
		return "not run: the test fails with no bug armed";
	default:
		return "not run";
	}
}

static void print_mutant(FILE *to, const struct mutants *mutants, const struct mutant *mutant,
			 int width)
{
	const char *complaint = output_complaint(mutant);
	char how[MUTANTS_TEXT_BYTES] = "";

	if (mutant->runs)
		mutants_end_text(how, &mutant->end);
	if (complaint)
		fprintf(to, "%8s  ", "-");
	else
		fprintf(to, "%8.2f  ", mutant->median_s);
	fprintf(to, "%-*s  %-11s  %-24s  %s", width, mutant->plant->name, mutant->build->preset,
		mutant->check->name, how);
	if (mutants->repeat > 1)
		fprintf(to, ", %u of %u caught, at most %.2f s", mutant->caught, mutant->runs,
			mutant->time_s_max);
	if (complaint)
		fprintf(to, "%s%s", *how ? ": " : "", complaint);
	else if (mutant->time_s_max > MUTANTS_SLOW_S)
		fprintf(to, ": took over %.0f s", MUTANTS_SLOW_S);
	fputc('\n', to);
}

static const char *print_ending(size_t count)
{
	return count == 1 ? "" : "s";
}

void mutants_print(FILE *to, const struct mutants *mutants, const struct mutants_summary *summary)
{
	int width = 6;
	size_t at;

	for (at = 0; at < mutants->count; at++) {
		int bytes = (int)strlen(mutants->all[at].plant->name);

		width = bytes > width ? bytes : width;
	}
	fprintf(to, "%8s  %-*s  %-11s  %-24s  %s\n", "seconds", width, "mutant", "build",
		"caught by", "how");
	for (at = 0; at < mutants->count; at++)
		print_mutant(to, mutants, &mutants->all[at], width);
	fprintf(to,
		"%zu planted bug%s, %zu mutant%s (each in each build that can tell): %zu caught",
		mutants->plants, print_ending(mutants->plants), mutants->count,
		print_ending(mutants->count), summary->caught);
	if (summary->slow)
		fprintf(to, ", %zu of them in over %.0f s", summary->slow, MUTANTS_SLOW_S);
	fputc('\n', to);
	if (summary->slowest)
		fprintf(to, "median %.2f s, slowest %.2f s: %s in %s\n", summary->median_s,
			summary->slowest->time_s_max, summary->slowest->plant->name,
			summary->slowest->build->preset);
	if (mutants->left_out)
		fprintf(to, "%zu more can be told in no build given\n", mutants->left_out);
	if (mutants->interrupted)
		fprintf(to, "interrupted: %zu of %zu mutants were run\n", summary->run,
			mutants->count);
}

static void print_tail(FILE *to, const char *name, const char *preset, const char *plant,
		       const struct child_end *end)
{
	char how[MUTANTS_TEXT_BYTES];
	size_t bytes = strlen(end->tail);

	fprintf(to, "== %s in %s, %s armed: %s; it printed last:\n", name, preset,
		plant ? plant : "nothing", mutants_end_text(how, end));
	fputs(end->tail, to);
	if (bytes && end->tail[bytes - 1] != '\n')
		fputc('\n', to);
}

void mutants_print_failures(FILE *to, const struct mutants *mutants,
			    const struct mutants_build *builds, size_t build_count)
{
	size_t build;
	size_t at;

	for (build = 0; build < build_count; build++)
		for (at = 0; at < builds[build].check_count; at++)
			if (builds[build].checks[at].control == CONTROL_FAILED)
				print_tail(to, builds[build].checks[at].name, builds[build].preset,
					   NULL, &builds[build].checks[at].unarmed);
	for (at = 0; at < mutants->count; at++) {
		const struct mutant *mutant = &mutants->all[at];

		if (mutant->runs && mutant->state != MUTANT_CAUGHT)
			print_tail(to, mutant->check->name, mutant->build->preset,
				   mutant->plant->name, &mutant->end);
	}
}

static json_t *json_seconds(double seconds, bool known)
{
	return known ? json_real(seconds) : json_null();
}

static json_t *json_mutant(const struct mutant *mutant)
{
	bool caught = mutant->state == MUTANT_CAUGHT;
	const char *complaint = output_complaint(mutant);
	char how[MUTANTS_TEXT_BYTES];

	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:s, s:s, s:i, s:i, s:o, s:s?}", "name",
			 mutant->plant->name, "file", mutant->plant->file, "caught", caught,
			 "seconds", json_seconds(mutant->median_s, caught), "seconds_max",
			 json_seconds(mutant->time_s_max, caught), "by", mutant->check->name,
			 "preset", mutant->build->preset, "runs", (int)mutant->runs, "runs_caught",
			 (int)mutant->caught, "end",
			 mutant->runs ? json_string(mutants_end_text(how, &mutant->end)) :
					json_null(),
			 "complaint", complaint);
}

static json_t *json_mutants(const struct mutants *mutants)
{
	json_t *all = json_array();
	size_t at;

	for (at = 0; at < mutants->count; at++)
		if (json_array_append_new(all, json_mutant(&mutants->all[at]))) {
			json_decref(all);
			return NULL;
		}
	return all;
}

bool mutants_write_json(FILE *to, const void *argument)
{
	const struct mutants_report *report = argument;
	const struct mutants_summary *summary = report->summary;
	const struct mutant *slowest = summary->slowest;

	return text_write_json(to,
			       json_pack("{s:s, s:O, s:b, s:I, s:I, s:I, s:o, s:o, s:o}", "schema",
					 "refstorm.mutants.v1", "run", report->run, "partial",
					 report->mutants->interrupted, "plants",
					 (json_int_t)report->mutants->plants, "caught",
					 (json_int_t)summary->caught, "left_out",
					 (json_int_t)report->mutants->left_out, "seconds_median",
					 json_seconds(summary->median_s, slowest), "seconds_max",
					 json_seconds(slowest ? slowest->time_s_max : 0, slowest),
					 "mutants", json_mutants(report->mutants)));
}
