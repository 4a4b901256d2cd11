/* SPDX-License-Identifier: MIT */
#include "stress/record/report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "stress/record/faults.h"
#include "stress/record/figures.h"
#include "stress/record/stalls.h"
#include "stress/record/stops.h"

static const char *report_verdict(enum stress_verdict verdict)
{
	switch (verdict) {
	case STRESS_PASS:
		return "pass";
	case STRESS_FAULT:
		return "oracle";
	case STRESS_HANG:
		return "hang";
	case STRESS_NOTHING:
		return "vacuous";
	case STRESS_INTERRUPTED:
		return "interrupted";
	case STRESS_UNUSABLE:
		break;
	}
	return "unusable";
}

static double report_rate(uint64_t count, uint64_t ns)
{
	return ns ? (double)count * 1e9 / (double)ns : 0;
}

static void report_stops(FILE *to, const struct shared_tracer *tracer)
{
	const struct shared_rates *during = &tracer->during;
	const struct shared_rates *between = &tracer->between;
	struct stops_place place;
	unsigned at;

	fprintf(to,
		"stops: %" PRIu64 " in rs_operation_record, %" PRIu64
		" elsewhere in an operation, %" PRIu64 " in rs_operation_begin, %" PRIu64
		" in rs_operation_end, %" PRIu64
		" between operations; mean %.1f ms, longest %.1f ms\n",
		tracer->stops_in[SHARED_RECORDING], tracer->stops_in[SHARED_INSIDE],
		tracer->stops_in[SHARED_BEGINNING], tracer->stops_in[SHARED_ENDING],
		tracer->stops_in[SHARED_OUTSIDE],
		(double)tracer->stopped_ns / 1e6 / (double)order_load_relaxed(&tracer->stops),
		(double)tracer->stopped_ns_max / 1e6);
	fprintf(to,
		"the others per second while one is stopped: %.0f deltas, %.1f merges, %.0f look-ups; just "
		"before: %.0f, %.1f, %.0f\n",
		report_rate(during->deltas, during->ns), report_rate(during->merges, during->ns),
		report_rate(during->lookups, during->ns), report_rate(between->deltas, between->ns),
		report_rate(between->merges, between->ns),
		report_rate(between->lookups, between->ns));
	fputs("stopped in:", to);
	for (at = 0; at < 12 && stops_place(at, &place); at++)
		fprintf(to, " %s %" PRIu64, place.name, place.stops);
	fputc('\n', to);
}

static void report_stalls(FILE *to)
{
	struct stalls_window window;
	unsigned at;

	fprintf(to, "stalls: %" PRIu64 ";", stalls_made());
	for (at = 0; stalls_window(at, &window); at++)
		if (window.passes)
			fprintf(to, " %s %" PRIu64 "/%" PRIu64, window.name, window.stalls,
				window.passes);
	fputc('\n', to);
}

void report_text(FILE *to, const struct stress *stress, enum stress_verdict verdict)
{
	struct figure figures[FIGURES_MAX];
	unsigned count = figures_collect(stress, figures);
	unsigned at;

	fprintf(to,
		"%s: %s, seed %" PRIu64 ", timing seed %" PRIu64
		" (timing is not repeated by its seed, only drawn from it)\n",
		report_verdict(verdict), stress->statistics.path ? stress->statistics.path : "?",
		stress->options->seed, stress->options->timing_seed);
	for (at = 0; at < count; at++) {
		fprintf(to, "%s%s %" PRIu64, at % 8 ? ", " : "", figures[at].name,
			figures[at].value);
		if (at % 8 == 7 || at + 1 == count)
			fputc('\n', to);
	}
	fprintf(to,
		"%.2f s, %.0f deltas per second, %.1f ns of CPU a delta (%.1f of them the generator and its "
		"sums), oldest %.1f ms\n",
		(double)(stress->end_ns - stress->begin_ns) / 1e9,
		report_rate(stress->deltas, stress->end_ns - stress->begin_ns),
		stress->deltas ? (double)stress->cpu_ns / (double)stress->deltas : 0,
		stress->generator_ns, (double)order_load_relaxed(&stress->counts.oldest_ns) / 1e6);
	if (stress->options->stalls)
		report_stalls(to);
	if (stress->options->stops)
		report_stops(to, &stress->shared->tracer);
	if (faults_count())
		fprintf(to, "faults: %" PRIu64 "\n", faults_count());
}

/* Arguments come from outside: quotes and what is below a blank are told to JSON. */
static void report_string(FILE *to, const char *text)
{
	fputc('"', to);
	for (; *text; text++) {
		unsigned char letter = (unsigned char)*text;

		if (letter == '"' || letter == '\\')
			fprintf(to, "\\%c", letter);
		else if (letter < 0x20 || letter >= 0x7f)
			fprintf(to, "\\u%04x", letter);
		else
			fputc(letter, to);
	}
	fputc('"', to);
}

static void report_json_tracer(FILE *to, const struct stress *stress)
{
	const struct shared_tracer *tracer = &stress->shared->tracer;
	struct stops_place place;
	unsigned at;

	if (!stress->options->stops) {
		fputs(",\n \"stops\":null", to);
		return;
	}
	fprintf(to,
		",\n \"stops\":{\"count\":%" PRIu64 ",\"in_record\":%" PRIu64
		",\"in_operation\":%" PRIu64 ",\"in_begin\":%" PRIu64 ",\"in_end\":%" PRIu64
		",\"outside\":%" PRIu64 ",\"ns\":%" PRIu64 ",\"ns_max\":%" PRIu64,
		order_load_relaxed(&tracer->stops), tracer->stops_in[SHARED_RECORDING],
		tracer->stops_in[SHARED_INSIDE], tracer->stops_in[SHARED_BEGINNING],
		tracer->stops_in[SHARED_ENDING], tracer->stops_in[SHARED_OUTSIDE],
		tracer->stopped_ns, tracer->stopped_ns_max);
	fprintf(to,
		",\"during\":{\"deltas_per_s\":%.1f,\"merges_per_s\":%.2f,\"lookups_per_s\":%.1f}"
		",\"between\":{\"deltas_per_s\":%.1f,\"merges_per_s\":%.2f,\"lookups_per_s\":%.1f},\"places\":{",
		report_rate(tracer->during.deltas, tracer->during.ns),
		report_rate(tracer->during.merges, tracer->during.ns),
		report_rate(tracer->during.lookups, tracer->during.ns),
		report_rate(tracer->between.deltas, tracer->between.ns),
		report_rate(tracer->between.merges, tracer->between.ns),
		report_rate(tracer->between.lookups, tracer->between.ns));
	for (at = 0; stops_place(at, &place); at++) {
		fputs(at ? "," : "", to);
		report_string(to, place.name);
		fprintf(to, ":%" PRIu64, place.stops);
	}
	fputs("}}", to);
}

static void report_json_stalls(FILE *to, const struct stress *stress)
{
	struct stalls_window window;
	unsigned at;

	if (!stress->options->stalls) {
		fputs(",\n \"stalls\":null", to);
		return;
	}
	fprintf(to, ",\n \"stalls\":{\"count\":%" PRIu64 ",\"windows\":{", stalls_made());
	for (at = 0; stalls_window(at, &window); at++) {
		fputs(at ? "," : "", to);
		report_string(to, window.name);
		fprintf(to, ":{\"passes\":%" PRIu64 ",\"stalls\":%" PRIu64 "}", window.passes,
			window.stalls);
	}
	fputs("}}", to);
}

static void report_json_write(FILE *to, const struct stress *stress, enum stress_verdict verdict,
			      int argc, char **argv)
{
	struct figure figures[FIGURES_MAX];
	unsigned count = figures_collect(stress, figures);
	unsigned at;

	fprintf(to,
		"{\"schema\":\"refstorm.record-stress.v1\",\"seed\":%" PRIu64
		",\"timing_seed\":%" PRIu64 ",\"verdict\":\"%s\",\"path\":",
		stress->options->seed, stress->options->timing_seed, report_verdict(verdict));
	if (stress->statistics.path)
		report_string(to, stress->statistics.path);
	else
		fputs("null", to);
	fputs(",\n \"command\":[", to);
	for (at = 0; at < (unsigned)argc; at++) {
		fputs(at ? "," : "", to);
		report_string(to, argv[at]);
	}
	fputs("],\n \"counts\":{", to);
	for (at = 0; at < count; at++) {
		fputs(at ? "," : "", to);
		report_string(to, figures[at].key);
		fprintf(to, ":%" PRIu64, figures[at].value);
	}
	fprintf(to,
		"},\n \"seconds\":%.3f,\"deltas_per_s\":%.1f,\"cpu_ns_per_delta\":%.2f"
		",\"generator_ns_per_delta\":%.2f,\"faults\":%" PRIu64,
		(double)(stress->end_ns - stress->begin_ns) / 1e9,
		report_rate(stress->deltas, stress->end_ns - stress->begin_ns),
		stress->deltas ? (double)stress->cpu_ns / (double)stress->deltas : 0,
		stress->generator_ns, faults_count());
	report_json_stalls(to, stress);
	report_json_tracer(to, stress);
	fputs("}\n", to);
}

bool report_json(const struct stress *stress, enum stress_verdict verdict, int argc, char **argv)
{
	const char *path = stress->options->json;
	bool written;
	FILE *to;

	if (!path)
		return true;
	to = strcmp(path, "-") ? fopen(path, "we") : stdout;
	if (to)
		report_json_write(to, stress, verdict, argc, argv);
	written = to && !ferror(to) && !fflush(to);
	if (to && to != stdout && fclose(to))
		written = false;
	if (!written)
		fprintf(stderr, "refstorm-record-stress: %s: cannot write: %s\n", path,
			strerror(errno));
	return written;
}
