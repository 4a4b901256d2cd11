// SPDX-License-Identifier: MIT
#include "bench/sweep/result.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "bench/sweep/crew.h"
#include "bench/sweep/sample_locks.h"
#include "core/base/alloc.h"

/* What is kept of a point must not count in the memory of the children: they do not get it. */
#define PAGE_BYTES ((size_t)4096)
#define LOCKS_BYTES (SAMPLE_LOCKS_MAX * sizeof(struct sample_lock))

static size_t whole_pages(size_t bytes)
{
	return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* Zeroed. NULL: no memory. */
static void *room_make(size_t bytes)
{
	void *room = alloc_aligned(PAGE_BYTES, whole_pages(bytes), 1);

	/* Where pages are larger it fails, and they count. */
	if (room)
		(void)!madvise(room, whole_pages(bytes), MADV_DONTFORK);
	return room;
}

static void room_free(void *room, size_t bytes)
{
	if (room)
		(void)!madvise(room, whole_pages(bytes), MADV_DOFORK);
	alloc_free(room);
}

/* One more, so that there is one. */
static size_t latencies_bytes(const struct rs_workload *workload)
{
	return (crew_operations(workload) + 1) * sizeof(struct histogram);
}

int result_create(const struct plan *plan, struct result *result)
{
	result->plan = plan;
	result->points = alloc_zeroed(plan->point_count, sizeof(*result->points));
	return result->points ? 0 : -ENOMEM;
}

static void point_clear(struct result_point *point, const struct rs_workload *workload)
{
	unsigned metric;

	for (metric = 0; metric < SAMPLE_METRICS; metric++) {
		alloc_free(point->values[metric]);
		point->values[metric] = NULL;
		point->value_counts[metric] = 0;
	}
	room_free(point->latencies, latencies_bytes(workload));
	point->latencies = NULL;
	room_free(point->locks, LOCKS_BYTES);
	point->locks = NULL;
	point->lock_count = 0;
	point->samples = 0;
	point->operations = 0;
}

void result_destroy(struct result *result)
{
	size_t at;

	for (at = 0; result->points && at < result->plan->point_count; at++)
		point_clear(&result->points[at], result->plan->points[at].workload);
	alloc_free(result->points);
	result->points = NULL;
}

/* What a point needs with its first sample. */
static int point_begin(const struct result *result, size_t at)
{
	const struct rs_workload *workload = result->plan->points[at].workload;
	struct result_point *point = &result->points[at];
	unsigned metric;

	if (point->samples)
		return 0;
	for (metric = 0; metric < SAMPLE_METRICS; metric++) {
		point->values[metric] = alloc_zeroed(result->plan->repeat, sizeof(double));
		if (!point->values[metric])
			return -ENOMEM;
	}
	point->latencies = room_make(latencies_bytes(workload));
	point->locks = room_make(LOCKS_BYTES);
	return point->latencies && point->locks ? 0 : -ENOMEM;
}

int result_add(struct result *result, size_t at, const struct sample *sample)
{
	struct result_point *point = &result->points[at];
	unsigned operations = crew_operations(result->plan->points[at].workload);
	unsigned which;
	int ret;

	if (point->failed[0])
		return 0;
	ret = point_begin(result, at);
	if (ret) {
		point_clear(point, result->plan->points[at].workload);
		return ret;
	}
	point->samples++;
	point->operations += sample->operations;
	for (which = 0; which < SAMPLE_METRICS; which++)
		if (sample->has[which])
			point->values[which][point->value_counts[which]++] = sample->metrics[which];
	for (which = 0; which < operations; which++)
		histogram_merge(&point->latencies[which], &sample->latencies[which]);
	for (which = 0; which < sample->lock_count; which++)
		sample_locks_add(point->locks, &point->lock_count, sample->locks[which].name,
				 &sample->locks[which].numbers);
	return 0;
}

void result_fail(struct result *result, size_t at, const char *why)
{
	struct result_point *point = &result->points[at];
	char *letter;

	if (point->failed[0])
		return;
	point_clear(point, result->plan->points[at].workload);
	snprintf(point->failed, sizeof(point->failed), "%s", why);
	/* It goes to terminals and into JSON, and names from an image may be in it. */
	for (letter = point->failed; *letter; letter++)
		if (*letter < 0x20 || *letter > 0x7e)
			*letter = '?';
}
