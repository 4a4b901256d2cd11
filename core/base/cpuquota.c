/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/base/cpuquota.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Reads the first line of `directory`/`group`/`name`, without its end. */
static bool cpuquota_line(const char *directory, const char *group, const char *name, char *line,
			  int line_bytes)
{
	char path[PATH_MAX];
	FILE *file;
	bool read;

	if (snprintf(path, sizeof(path), "%s%s/%s", directory, group, name) >= (int)sizeof(path))
		return false;
	file = fopen(path, "re");
	if (!file)
		return false;
	read = fgets(line, line_bytes, file) != NULL;
	fclose(file);
	if (read)
		line[strcspn(line, "\n")] = '\0';
	return read;
}

/* Quota per period in CPUs, rounded up. 0 for no limit, which is what nonsense counts as. */
static unsigned cpuquota_round(int64_t quota_us, int64_t period_us)
{
	uint64_t cpus;

	if (quota_us <= 0 || period_us <= 0)
		return 0;
	cpus = ((uint64_t)quota_us + (uint64_t)period_us - 1) / (uint64_t)period_us;
	return cpus > UINT_MAX ? UINT_MAX : (unsigned)cpus;
}

/* One group's own quota, of version 2 or 1; `directory` is where its hierarchy is mounted. */
static unsigned cpuquota_group(const char *directory, const char *group, bool v2)
{
	int64_t quota_us;
	int64_t period_us;
	char line[64];

	if (v2) {
		/* "max 100000" for no limit, which scans as nothing. */
		if (!cpuquota_line(directory, group, "cpu.max", line, sizeof(line)) ||
		    sscanf(line, "%" SCNd64 " %" SCNd64, &quota_us, &period_us) != 2)
			return 0;
		return cpuquota_round(quota_us, period_us);
	}
	if (!cpuquota_line(directory, group, "cpu.cfs_quota_us", line, sizeof(line)) ||
	    sscanf(line, "%" SCNd64, &quota_us) != 1)
		return 0;
	if (!cpuquota_line(directory, group, "cpu.cfs_period_us", line, sizeof(line)) ||
	    sscanf(line, "%" SCNd64, &period_us) != 1)
		return 0;
	return cpuquota_round(quota_us, period_us);
}

static unsigned cpuquota_tighter(unsigned one, unsigned other)
{
	if (!one || !other)
		return one ? one : other;
	return one < other ? one : other;
}

/*
 * The tightest on the way from `group` to the top. Groups that are not there are
 * passed over: inside a container the path may be the host's, while the
 * container's own group is mounted as the top. `group` is cut up.
 */
static unsigned cpuquota_hierarchy(const char *directory, char *group, bool v2)
{
	unsigned cpus = 0;
	char *slash;

	do {
		slash = strrchr(group, '/');
		if (slash && !slash[1])
			*slash = '\0';
		cpus = cpuquota_tighter(cpus, cpuquota_group(directory, group, v2));
		slash = strrchr(group, '/');
		if (slash)
			*slash = '\0';
	} while (slash);
	return cpus;
}

/* Is `name` one of the comma-separated `names`? */
static bool cpuquota_has(const char *names, const char *name)
{
	size_t length = strlen(name);

	while (*names) {
		size_t part = strcspn(names, ",");

		if (part == length && !memcmp(names, name, length))
			return true;
		names += part;
		names += *names == ',';
	}
	return false;
}

/* One line of /proc/self/cgroup: "0::/group" or "4:cpu,cpuacct:/group". */
static unsigned cpuquota_member(char *line, const char *mount)
{
	char directory[PATH_MAX];
	char *controllers = strchr(line, ':');
	char *group = controllers ? strchr(controllers + 1, ':') : NULL;
	char copy[PATH_MAX];
	unsigned cpus;

	if (!group)
		return 0;
	*group++ = '\0';
	controllers++;
	if (*controllers && !cpuquota_has(controllers, "cpu"))
		return 0;
	if (snprintf(copy, sizeof(copy), "%s", group) >= (int)sizeof(copy))
		return 0;
	/* Version 2 is the mount itself, or lies beside the version 1 hierarchies. */
	if (snprintf(directory, sizeof(directory), "%s%s%s", mount, *controllers ? "/" : "",
		     controllers) >= (int)sizeof(directory))
		return 0;
	cpus = cpuquota_hierarchy(directory, group, !*controllers);
	if (cpus)
		return cpus;
	if (snprintf(directory, sizeof(directory), "%s/%s", mount,
		     *controllers ? "cpu" : "unified") >= (int)sizeof(directory))
		return 0;
	return cpuquota_hierarchy(directory, copy, !*controllers);
}

unsigned cpuquota_cpus_at(const char *membership, const char *mount)
{
	FILE *file = fopen(membership, "re");
	char line[PATH_MAX + 256];
	unsigned cpus = 0;

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		cpus = cpuquota_tighter(cpus, cpuquota_member(line, mount));
	}
	fclose(file);
	return cpus;
}

unsigned cpuquota_cpus(void)
{
	return cpuquota_cpus_at("/proc/self/cgroup", "/sys/fs/cgroup");
}
