/* SPDX-License-Identifier: MIT */
/*
 * Which CPUs this process may use, how they lie in the machine, and binding
 * threads to them. By hwloc.
 *
 * Callers: create and destroy from one thread; the rest from any threads at the
 * same time. A topology is a snapshot: CPUs that go offline and affinity masks
 * that change later are not followed.
 */
#ifndef REFSTORM_BASE_TOPOLOGY_H
#define REFSTORM_BASE_TOPOLOGY_H

#include <stddef.h>

#include "refstorm/error.h"

struct topology;

/*
 * Reads the machine, and the affinity mask of the calling thread, which what the
 * other functions return keeps to. Returns 0, -ENOMEM, or -EIO if the machine
 * cannot be read.
 */
int topology_create(struct topology **out, struct rs_error *error)
	__attribute__((warn_unused_result));

/* NULL is allowed. */
void topology_destroy(struct topology *topology);

/* CPUs (hardware threads) of the affinity mask; at least 1. */
unsigned topology_cpus(const struct topology *topology);

/*
 * The system's number of the CPU for thread `index` of `threads`: spread over
 * packages, then caches, then cores, and only then hardware threads of one core.
 * Different for each index while `threads` is at most topology_cpus(); then they
 * are used more than once. `index` is below `threads`.
 */
unsigned topology_spread(const struct topology *topology, unsigned threads, unsigned index);

/*
 * Binds the calling thread to one CPU. Memory is left to first touch, which then
 * is the CPU's own node. Returns 0 or a negative errno: -EINVAL for a CPU that
 * the process may not use.
 */
int topology_bind(const struct topology *topology, unsigned cpu)
	__attribute__((warn_unused_result));

/* The system's number of the NUMA node of a CPU; -1 for one that may not be used. */
int topology_numa_node(const struct topology *topology, unsigned cpu);

/*
 * The machine in one line for reports: "AMD EPYC: 1 package, 2 cores, 2 CPUs (1
 * allowed), 1 NUMA node, L1d 48 KiB x2, L3 32 MiB x1". Valid until topology_destroy.
 */
const char *topology_summary(const struct topology *topology);

#endif /* REFSTORM_BASE_TOPOLOGY_H */
