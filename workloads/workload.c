/* SPDX-License-Identifier: MIT */
#include "workloads/workload.h"

#include <string.h>

#include "core/base/clock.h"
#include "workloads/workload_list.h"

static const struct rs_workload *const workload_list[] = {
	&workload_overwrite,     &workload_snapshot_storm, &workload_clone_fan,
	&workload_defrag_shared, &workload_snapshot_drop,  &workload_rescan_under_load,
	&workload_mixed,
};

const struct rs_workload *workload_at(unsigned index)
{
	return index < sizeof(workload_list) / sizeof(workload_list[0]) ? workload_list[index] :
									  NULL;
}

const struct rs_workload *workload_find(const char *name)
{
	const struct rs_workload *kind;
	unsigned at;

	for (at = 0; (kind = workload_at(at)); at++)
		if (!strcmp(kind->name, name))
			return kind;
	return NULL;
}

uint64_t workload_begin(const struct workload_thread *thread)
{
	return thread->latencies ? clock_now_ns() : 0;
}

void workload_done(struct workload_thread *thread, unsigned operation, uint64_t begun)
{
	thread->operations++;
	/* One that began before latencies were measured has none. */
	if (thread->latencies && begun)
		histogram_record(&thread->latencies[operation], clock_now_ns() - begun);
}
