// SPDX-License-Identifier: MIT
#include <inttypes.h>
#include <string.h>

#include "bench/profile/profile.h"

const char *profile_engine_name(const struct profile_run_options *options)
{
	if (!options->quotas)
		return "off";
	return options->engine == RS_QUOTA_EXTENT ? "extent" : "ledger";
}

const char *profile_record_name(const struct profile_run_options *options)
{
	static const char *const names[] = {
		[RS_RECORD_PERCPU] = "percpu",
		[RS_RECORD_LOCKED] = "locked",
		[RS_RECORD_HASHED] = "hashed",
	};

	return names[options->record];
}

/* Three digits or more, with a unit that leaves few. */
static const char *time_text(char *text, size_t bytes, uint64_t ns)
{
	if (!ns)
		snprintf(text, bytes, "-");
	else if (ns < 10000)
		snprintf(text, bytes, "%" PRIu64 " ns", ns);
	else if (ns < UINT64_C(10000000))
		snprintf(text, bytes, "%.1f us", (double)ns / 1e3);
	else if (ns < UINT64_C(10000000000))
		snprintf(text, bytes, "%.1f ms", (double)ns / 1e6);
	else
		snprintf(text, bytes, "%.1f s", (double)ns / 1e9);
	return text;
}

static void print_locks(FILE *to, const struct lock_table *table)
{
	size_t unused = 0;
	size_t at;

	fprintf(to, "%-20s %12s %12s %11s %11s %11s %11s %11s\n", "lock", "acquired", "contended",
		"waited", "wait p99", "wait max", "held", "held max");
	for (at = 0; at < table->count; at++) {
		const struct lock_statistics *row = &table->rows[at];
		char texts[5][24];

		if (!row->acquisitions) {
			unused++;
			continue;
		}
		fprintf(to, "%-20s %12" PRIu64 " %12" PRIu64 " %11s %11s %11s %11s %11s\n",
			row->name, row->acquisitions, row->contended,
			time_text(texts[0], 24, row->wait_ns),
			time_text(texts[1], 24, row->wait_ns_p99),
			time_text(texts[2], 24, row->wait_ns_max),
			time_text(texts[3], 24, row->hold_ns),
			time_text(texts[4], 24, row->hold_ns_max));
	}
	if (unused)
		fprintf(to, "not acquired at all: %zu more\n", unused);
}

static void print_tally(FILE *to, const struct tally *tally)
{
	char texts[2][24];
	bool any = false;
	unsigned at;

	fputs("\nexchanges tried again:", to);
	for (at = 0; at < TALLY_RETRIES; at++) {
		if (!tally->retries[at])
			continue;
		fprintf(to, "%s %s %" PRIu64, any ? "," : "",
			tally_retry_name((enum tally_retry)at), tally->retries[at]);
		any = true;
	}
	fprintf(to, "%s\nwaits for grace periods: %" PRIu64 ", %s together, %s the longest\n",
		any ? "" : " none", tally->grace_waits,
		time_text(texts[0], sizeof(texts[0]), tally->grace_wait_ns),
		time_text(texts[1], sizeof(texts[1]), tally->grace_wait_ns_max));
}

static void print_stacks(FILE *to, const struct profile_options *options, const char *what,
			 const struct profile_stacks *stacks)
{
	size_t at;

	if (!stacks->there)
		return;
	fprintf(to, "\n%s: %" PRIu64 " samples", what, stacks->samples);
	if (stacks->svg[0])
		fprintf(to, "; %s/%s", options->directory, stacks->svg);
	fputc('\n', to);
	for (at = 0; at < stacks->count; at++)
		fprintf(to, "%6.2f %%  %s\n", stacks->top[at].share * 100,
			stacks->top[at].function);
}

void profile_print(FILE *to, const struct profile_options *options,
		   const struct profile_result *result)
{
	double operations = (double)result->operations;
	unsigned at;

	fprintf(to, "%s: engine %s, record %s, %u threads, %u snapshots, seed %" PRIu64 "\n",
		options->run.kind->name, profile_engine_name(&options->run),
		profile_record_name(&options->run), options->run.threads, options->run.snapshots,
		options->run.seed);
	fprintf(to,
		"%" PRIu64 " operations in %.3f s: %.0f a second, all threads together; "
		"%.0f ns of CPU time each\n\n",
		result->operations, result->seconds,
		result->seconds > 0 ? operations / result->seconds : 0,
		result->operations ? result->cpu_seconds * 1e9 / operations : 0);
	print_locks(to, &result->locks);
	print_tally(to, &result->tally);
	print_stacks(to, options, "running (on CPU), by function", &result->on_cpu);
	print_stacks(to, options, "waiting (off CPU), by the program's innermost function",
		     &result->off_cpu);
	for (at = 0; at < result->note_count; at++)
		fprintf(to, "%snote: %s\n", at ? "" : "\n", result->notes[at]);
}

static json_t *json_locks(const struct lock_table *table)
{
	json_t *locks = json_array();
	size_t at;

	for (at = 0; at < table->count; at++) {
		const struct lock_statistics *row = &table->rows[at];

		json_array_append_new(locks,
				      json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
						"name", row->name, "rank", (int)row->rank,
						"acquisitions", (json_int_t)row->acquisitions,
						"contended", (json_int_t)row->contended, "wait_ns",
						(json_int_t)row->wait_ns, "wait_ns_p99",
						(json_int_t)row->wait_ns_p99, "wait_ns_max",
						(json_int_t)row->wait_ns_max, "hold_ns",
						(json_int_t)row->hold_ns, "hold_ns_max",
						(json_int_t)row->hold_ns_max));
	}
	return locks;
}

static json_t *json_retries(const struct tally *tally)
{
	json_t *retries = json_object();
	unsigned at;

	for (at = 0; at < TALLY_RETRIES; at++)
		json_object_set_new(retries, tally_retry_name((enum tally_retry)at),
				    json_integer((json_int_t)tally->retries[at]));
	return retries;
}

static json_t *json_stacks(const struct profile_stacks *stacks, bool off)
{
	json_t *top;
	json_t *all;
	size_t at;

	if (!stacks->there)
		return json_null();
	top = json_array();
	for (at = 0; at < stacks->count; at++)
		json_array_append_new(top,
				      json_pack("{s:s%, s:f}", "function", stacks->top[at].function,
						strlen(stacks->top[at].function), "share",
						stacks->top[at].share));
	all = json_pack("{s:I, s:o, s:o}", "samples", (json_int_t)stacks->samples, "svg",
			stacks->svg[0] ? json_string(stacks->svg) : json_null(), "top", top);
	if (all && off)
		json_object_set_new(all, "seconds", json_real((double)stacks->weight / 1e9));
	return all;
}

static json_t *json_notes(const struct profile_result *result)
{
	json_t *notes = json_array();
	unsigned at;

	for (at = 0; at < result->note_count; at++) {
		json_t *text = json_string(result->notes[at]);

		json_array_append_new(notes, text ? text : json_string("(not to be shown)"));
	}
	return notes;
}

json_t *profile_json(const struct profile_options *options, const struct profile_result *result,
		     json_t *run)
{
	const struct tally *tally = &result->tally;

	return json_pack("{s:s, s:o, s:b, s:s, s:s, s:s, s:i, s:i, s:I, s:f, s:I, s:f, s:o, s:o,"
			 " s:{s:I, s:I, s:I}, s:o, s:o, s:o}",
			 "schema", "refstorm.profile.v1", "run", run ? run : json_null(), "partial",
			 result->interrupted, "workload", options->run.kind->name, "engine",
			 profile_engine_name(&options->run), "record",
			 profile_record_name(&options->run), "threads", (int)options->run.threads,
			 "snapshots", (int)options->run.snapshots, "seed",
			 (json_int_t)options->run.seed, "seconds", result->seconds, "operations",
			 (json_int_t)result->operations, "cpu_seconds", result->cpu_seconds,
			 "locks", json_locks(&result->locks), "retries", json_retries(tally),
			 "grace_waits", "count", (json_int_t)tally->grace_waits, "wait_ns",
			 (json_int_t)tally->grace_wait_ns, "wait_ns_max",
			 (json_int_t)tally->grace_wait_ns_max, "on_cpu",
			 json_stacks(&result->on_cpu, false), "off_cpu",
			 json_stacks(&result->off_cpu, true), "notes", json_notes(result));
}
