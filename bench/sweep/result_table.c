// SPDX-License-Identifier: MIT
#include "bench/sweep/result.h"

#include "bench/statistics/statistics.h"
#include "bench/sweep/crew.h"

#define CELL_BYTES 40U
#define NOT_THERE "-"

/* Of a metric, if it is there. False: no memory. */
static bool median(const struct result *result, const struct result_point *point,
		   enum sample_metric metric, struct statistics_interval *interval, bool *is_there)
{
	*is_there = point->value_counts[metric] > 0;
	return !*is_there ||
	       !statistics_median_interval(point->values[metric], point->value_counts[metric],
					   result->plan->seed, interval);
}

/* Digits as far as they say something. */
static void print_number(char cell[CELL_BYTES], double value)
{
	snprintf(cell, CELL_BYTES, value < 100 ? "%.1f" : "%.0f", value);
}

static void print_duration(char cell[CELL_BYTES], double value_ns)
{
	if (value_ns < 1e3)
		snprintf(cell, CELL_BYTES, "%.0f ns", value_ns);
	else if (value_ns < 1e6)
		snprintf(cell, CELL_BYTES, "%.1f us", value_ns / 1e3);
	else if (value_ns < 1e9)
		snprintf(cell, CELL_BYTES, "%.1f ms", value_ns / 1e6);
	else
		snprintf(cell, CELL_BYTES, "%.2f s", value_ns / 1e9);
}

/* Of the operation that was done most often. */
static void print_busiest(char cell[CELL_BYTES], const struct rs_workload *workload,
			  const struct result_point *point)
{
	unsigned operations = point->latencies ? crew_operations(workload) : 0;
	const struct histogram *busiest = NULL;
	unsigned at;

	for (at = 0; at < operations; at++)
		if (point->latencies[at].count &&
		    (!busiest || point->latencies[at].count > busiest->count))
			busiest = &point->latencies[at];
	if (busiest)
		print_duration(cell, (double)histogram_quantile(busiest, 0.99));
	else
		snprintf(cell, CELL_BYTES, NOT_THERE);
}

static bool print_values(FILE *to, const struct result *result, const struct plan_point *planned,
			 const struct result_point *point)
{
	static const enum sample_metric metrics[] = { SAMPLE_OPS_PER_S, SAMPLE_NS_PER_OP,
						      SAMPLE_CPU_NS_PER_OP, SAMPLE_JOIN_WAIT_NS_MAX,
						      SAMPLE_PEAK_RSS_BYTES };
	char cells[sizeof(metrics) / sizeof(metrics[0])][CELL_BYTES];
	char range[2 * CELL_BYTES + 8] = "";
	char low[CELL_BYTES], high[CELL_BYTES], busiest[CELL_BYTES];
	size_t at;

	for (at = 0; at < sizeof(metrics) / sizeof(metrics[0]); at++) {
		struct statistics_interval interval = { 0 };
		bool is_there;

		if (!median(result, point, metrics[at], &interval, &is_there))
			return false;
		if (!is_there)
			snprintf(cells[at], CELL_BYTES, NOT_THERE);
		else if (metrics[at] == SAMPLE_JOIN_WAIT_NS_MAX)
			print_duration(cells[at], interval.median);
		else if (metrics[at] == SAMPLE_PEAK_RSS_BYTES)
			print_number(cells[at], interval.median / (1 << 20));
		else
			print_number(cells[at], interval.median);
		if (metrics[at] != SAMPLE_OPS_PER_S || !is_there)
			continue;
		print_number(low, interval.low);
		print_number(high, interval.high);
		snprintf(range, sizeof(range), "(%s to %s)", low, high);
	}
	print_busiest(busiest, planned->workload, point);
	fprintf(to, " %10s %-20s %9s %10s %9s %9s %8s", cells[0], range, cells[1], cells[2],
		busiest, cells[3], cells[4]);
	return true;
}

bool result_print(FILE *to, const struct result *result)
{
	const struct plan *plan = result->plan;
	size_t at;

	fprintf(to, "%-18s %-6s %-6s %7s %9s %10s %-20s %9s %10s %9s %9s %8s\n", "workload",
		"engine", "record", "threads", "snapshots", "ops/s", "(low to high)", "ns/op",
		"CPU ns/op", "p99", "join wait", "peak MiB");
	for (at = 0; at < plan->point_count; at++) {
		const struct plan_point *planned = &plan->points[at];
		const struct result_point *point = &result->points[at];

		if (!point->samples && !point->failed[0])
			continue;
		fprintf(to, "%-18s %-6s %-6s %7u %9u", planned->workload->name,
			plan_engine_name(planned->engine), plan_record_name(planned->record),
			planned->threads, planned->snapshots);
		if (point->failed[0])
			fprintf(to, " FAILED: %s", point->failed);
		else if (!print_values(to, result, planned, point))
			return false;
		if (!point->failed[0] && point->samples < plan->repeat)
			fprintf(to, " %u of %u runs", point->samples, plan->repeat);
		fputc('\n', to);
	}
	return true;
}
