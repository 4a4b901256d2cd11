/* SPDX-License-Identifier: MIT */
#include "core/base/topology.h"

#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"

struct topology {
	hwloc_topology_t hwloc; /* restricted to the affinity mask */
	unsigned cpus;
	char summary[512];
};

__attribute__((format(printf, 2, 3))) static void topology_summary_add(struct topology *topology,
								       const char *format, ...)
{
	size_t used = strlen(topology->summary);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(topology->summary + used, sizeof(topology->summary) - used, format, arguments);
	va_end(arguments);
}

static void topology_summary_count(struct topology *topology, const char *separator,
				   hwloc_obj_type_t type, const char *one, const char *many)
{
	int count = hwloc_get_nbobjs_by_type(topology->hwloc, type);

	if (count > 0)
		topology_summary_add(topology, "%s%d %s", separator, count,
				     count == 1 ? one : many);
}

static void topology_summary_cache(struct topology *topology, hwloc_obj_type_t type,
				   const char *name)
{
	int count = hwloc_get_nbobjs_by_type(topology->hwloc, type);
	uint64_t kib;
	hwloc_obj_t cache;

	if (count <= 0)
		return;
	cache = hwloc_get_obj_by_type(topology->hwloc, type, 0);
	kib = cache->attr->cache.size / 1024;
	if (kib >= 1024 && kib % 1024 == 0)
		topology_summary_add(topology, ", %s %" PRIu64 " MiB x%d", name, kib / 1024, count);
	else
		topology_summary_add(topology, ", %s %" PRIu64 " KiB x%d", name, kib, count);
}

/* Of the whole machine: called before the topology is restricted. */
static void topology_summarize(struct topology *topology, unsigned allowed)
{
	hwloc_obj_t package = hwloc_get_obj_by_type(topology->hwloc, HWLOC_OBJ_PACKAGE, 0);
	const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;

	topology_summary_add(topology, "%s", model ? model : "unknown model");
	topology_summary_count(topology, ": ", HWLOC_OBJ_PACKAGE, "package", "packages");
	topology_summary_count(topology, ", ", HWLOC_OBJ_CORE, "core", "cores");
	topology_summary_count(topology, ", ", HWLOC_OBJ_PU, "CPU", "CPUs");
	topology_summary_add(topology, " (%u allowed)", allowed);
	topology_summary_count(topology, ", ", HWLOC_OBJ_NUMANODE, "NUMA node", "NUMA nodes");
	topology_summary_cache(topology, HWLOC_OBJ_L1CACHE, "L1d");
	topology_summary_cache(topology, HWLOC_OBJ_L2CACHE, "L2");
	topology_summary_cache(topology, HWLOC_OBJ_L3CACHE, "L3");
}

/* Cuts the loaded machine down to what the calling thread may run on. */
static int topology_restrict(struct topology *topology)
{
	hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
	int cpus;
	int rc = -ENOMEM;

	if (!allowed)
		return rc;
	/* Where the mask cannot be had all of the machine counts as allowed. */
	if (hwloc_get_cpubind(topology->hwloc, allowed, HWLOC_CPUBIND_THREAD) < 0)
		hwloc_bitmap_copy(allowed, hwloc_topology_get_topology_cpuset(topology->hwloc));
	hwloc_bitmap_and(allowed, allowed, hwloc_topology_get_topology_cpuset(topology->hwloc));
	cpus = hwloc_bitmap_weight(allowed);
	rc = -EIO;
	if (cpus <= 0)
		goto out;
	topology->cpus = (unsigned)cpus;
	topology_summarize(topology, topology->cpus);
	if (hwloc_topology_restrict(topology->hwloc, allowed, 0) < 0)
		goto out;
	rc = 0;
out:
	hwloc_bitmap_free(allowed);
	return rc;
}

int topology_create(struct topology **out, struct rs_error *error)
{
	struct topology *topology = alloc_zeroed(1, sizeof(*topology));
	int rc;

	*out = NULL;
	if (!topology)
		return error_no_memory(error, "the topology");
	if (hwloc_topology_init(&topology->hwloc) < 0) {
		rc = error_no_memory(error, "the topology");
		goto free_topology;
	}
	if (hwloc_topology_load(topology->hwloc) < 0) {
		rc = error_set(error, -EIO, "the machine's topology cannot be read");
		goto destroy_hwloc;
	}
	rc = topology_restrict(topology);
	if (rc) {
		error_set(error, rc, "the topology cannot be limited to the affinity mask");
		goto destroy_hwloc;
	}
	*out = topology;
	return 0;

destroy_hwloc:
	hwloc_topology_destroy(topology->hwloc);
free_topology:
	alloc_free(topology);
	return rc;
}

void topology_destroy(struct topology *topology)
{
	if (!topology)
		return;
	hwloc_topology_destroy(topology->hwloc);
	alloc_free(topology);
}

unsigned topology_cpus(const struct topology *topology)
{
	return topology->cpus;
}

/*
 * hwloc_distrib gives each object a part of the threads in proportion to its
 * CPUs, rounded so that none gets more threads than CPUs while they suffice; a
 * part of one thread is the whole object, of which the first CPU is taken.
 */
static unsigned topology_spread_hwloc(const struct topology *topology, hwloc_cpuset_t *sets,
				      unsigned threads, unsigned index)
{
	hwloc_obj_t root = hwloc_get_root_obj(topology->hwloc);
	unsigned cpu;

	if (hwloc_distrib(topology->hwloc, &root, 1, sets, threads, INT_MAX, 0) < 0)
		return UINT_MAX;
	hwloc_bitmap_singlify(sets[index]);
	cpu = (unsigned)hwloc_bitmap_first(sets[index]);
	for (unsigned i = 0; i < threads; i++)
		hwloc_bitmap_free(sets[i]);
	return cpu;
}

unsigned topology_spread(const struct topology *topology, unsigned threads, unsigned index)
{
	/* Over the number of CPUs hwloc would only repeat itself, object by object. */
	unsigned spread = threads < topology->cpus ? threads : topology->cpus;
	hwloc_cpuset_t *sets = alloc_array(spread, sizeof(*sets));
	hwloc_obj_t any;
	unsigned cpu = UINT_MAX;

	if (sets)
		cpu = topology_spread_hwloc(topology, sets, spread, index % spread);
	alloc_free(sets);
	if (cpu != UINT_MAX)
		return cpu;
	/* Without memory for a good choice: the CPUs in the order in which they lie. */
	any = hwloc_get_obj_by_type(topology->hwloc, HWLOC_OBJ_PU, index % topology->cpus);
	return any->os_index;
}

int topology_bind(const struct topology *topology, unsigned cpu)
{
	hwloc_bitmap_t set;
	int rc = 0;

	if (cpu > INT_MAX || !hwloc_get_pu_obj_by_os_index(topology->hwloc, cpu))
		return -EINVAL;
	set = hwloc_bitmap_alloc();
	if (!set)
		return -ENOMEM;
	hwloc_bitmap_only(set, cpu);
	if (hwloc_set_cpubind(topology->hwloc, set, HWLOC_CPUBIND_THREAD) < 0)
		rc = errno ? -errno : -EIO;
	hwloc_bitmap_free(set);
	return rc;
}

int topology_numa_node(const struct topology *topology, unsigned cpu)
{
	hwloc_obj_t node = NULL;

	if (cpu > INT_MAX || !hwloc_get_pu_obj_by_os_index(topology->hwloc, cpu))
		return -1;
	while ((node = hwloc_get_next_obj_by_type(topology->hwloc, HWLOC_OBJ_NUMANODE, node)))
		if (hwloc_bitmap_isset(node->cpuset, cpu))
			return (int)node->os_index;
	return -1;
}

const char *topology_summary(const struct topology *topology)
{
	return topology->summary;
}
