/* SPDX-License-Identifier: MIT */
/*
 * How many CPUs' worth of time the control groups of this process allow: cpu.max
 * (version 2) or cpu.cfs_quota_us (version 1) of its group and of all groups above.
 * Callers: any thread. May be stale the moment it returns: quotas change.
 */
#ifndef REFSTORM_BASE_CPUQUOTA_H
#define REFSTORM_BASE_CPUQUOTA_H

/* The tightest quota in CPUs, rounded up; 0 where there is none or it cannot be read. */
unsigned cpuquota_cpus(void);

/*
 * The same with another file for /proc/self/cgroup and another directory for
 * /sys/fs/cgroup. For tests.
 */
unsigned cpuquota_cpus_at(const char *membership, const char *mount);

#endif /* REFSTORM_BASE_CPUQUOTA_H */
