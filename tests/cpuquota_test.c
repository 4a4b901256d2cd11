/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/cpuquota.h"

/* Stands in for /proc/self/cgroup and /sys/fs/cgroup. */
static char directory[] = "/tmp/refstorm-cpuquota-XXXXXX";
static char mount[PATH_MAX];

static void put(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *file;

	assert_true(snprintf(path, sizeof(path), "%s/%s", directory, name) < PATH_MAX);
	for (char *slash = strchr(path + sizeof(directory), '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static unsigned quota(const char *membership)
{
	char path[PATH_MAX];

	put("membership", membership);
	assert_true(snprintf(path, sizeof(path), "%s/membership", directory) < PATH_MAX);
	return cpuquota_cpus_at(path, mount);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	return !mkdtemp(directory) ||
	       snprintf(mount, sizeof(mount), "%s/mount", directory) >= PATH_MAX;
}

static int take_down(void **state)
{
	(void)state;
	return nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void cpuquota_none(void **state)
{
	(void)state;
	assert_int_equal(cpuquota_cpus_at("/nonexistent/membership", mount), 0);
	assert_int_equal(quota(""), 0);
	assert_int_equal(quota("0::/a\n"), 0);
	assert_int_equal(quota("nonsense\n:\n::\n1:cpu\n"), 0);
	put("mount/cpu.max", "max 100000\n");
	assert_int_equal(quota("0::/\n"), 0);
}

static void cpuquota_v2_rounds_up(void **state)
{
	static const struct {
		const char *text;
		unsigned cpus;
	} rows[] = {
		{ "100000 100000\n", 1 },
		{ "200000 100000\n", 2 },
		{ "150000 100000\n", 2 },
		{ "200001 100000\n", 3 },
		{ "1000 100000\n", 1 },
		{ "max 100000\n", 0 },
		{ "0 100000\n", 0 },
		{ "100000 0\n", 0 },
		{ "-1 100000\n", 0 },
		{ "100000\n", 0 },
		{ "", 0 },
		{ "x\n", 0 },
		{ "9223372036854775807 1\n", UINT_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put("mount/a/cpu.max", rows[i].text);
		assert_int_equal(quota("0::/a\n"), rows[i].cpus);
	}
}

/* A group is bound by its own quota and by those of all above it. */
static void cpuquota_v2_tightest_of_the_path(void **state)
{
	(void)state;
	put("mount/a/cpu.max", "300000 100000\n");
	put("mount/a/b/cpu.max", "800000 100000\n");
	put("mount/a/b/c/cpu.max", "max 100000\n");
	put("mount/other/cpu.max", "100000 100000\n");
	assert_int_equal(quota("0::/a/b/c\n"), 3);
	assert_int_equal(quota("0::/a/b\n"), 3);
	put("mount/a/b/cpu.max", "200000 100000\n");
	assert_int_equal(quota("0::/a/b/c\n"), 2);
	assert_int_equal(quota("0::/a\n"), 3);
	/* The host's path inside a container, whose own group is the top. */
	put("mount/cpu.max", "500000 100000\n");
	assert_int_equal(quota("0::/docker/0123456789abcdef\n"), 5);
	assert_int_equal(quota("0::/\n"), 5);
}

static void cpuquota_v1(void **state)
{
	const char *membership = "9:name=systemd:/x\n4:cpu,cpuacct:/a/b\n3:cpuset:/c\n0::/\n";

	(void)state;
	put("mount/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
	put("mount/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
	assert_int_equal(quota(membership), 0);
	put("mount/cpu,cpuacct/a/b/cpu.cfs_quota_us", "250000\n");
	assert_int_equal(quota(membership), 3);
	put("mount/cpu,cpuacct/a/cpu.cfs_quota_us", "100000\n");
	put("mount/cpu,cpuacct/a/cpu.cfs_period_us", "50000\n");
	assert_int_equal(quota(membership), 2);
	/* cpuset is another controller than cpu, whatever it says. */
	put("mount/cpuset/c/cpu.cfs_quota_us", "100000\n");
	put("mount/cpuset/c/cpu.cfs_period_us", "100000\n");
	assert_int_equal(quota(membership), 2);
}

static void cpuquota_v1_mounted_as_cpu(void **state)
{
	(void)state;
	put("mount/cpu/cpu.cfs_quota_us", "400000\n");
	put("mount/cpu/cpu.cfs_period_us", "100000\n");
	assert_int_equal(quota("1:cpu:/\n"), 4);
	assert_int_equal(quota("2:cpuacct,cpu:/gone\n"), 4);
}

static void cpuquota_both_versions(void **state)
{
	(void)state;
	put("mount/cpu/a/cpu.cfs_quota_us", "400000\n");
	put("mount/cpu/a/cpu.cfs_period_us", "100000\n");
	put("mount/unified/b/cpu.max", "300000 100000\n");
	assert_int_equal(quota("1:cpu:/a\n0::/b\n"), 3);
	assert_int_equal(quota("1:cpu:/a\n0::/c\n"), 4);
}

/* Whatever this machine has, asking is safe and repeatable. */
static void cpuquota_of_this_process(void **state)
{
	(void)state;
	assert_int_equal(cpuquota_cpus(), cpuquota_cpus_at("/proc/self/cgroup", "/sys/fs/cgroup"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, take_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(cpuquota_none),
		CASE(cpuquota_v2_rounds_up),
		CASE(cpuquota_v2_tightest_of_the_path),
		CASE(cpuquota_v1),
		CASE(cpuquota_v1_mounted_as_cpu),
		CASE(cpuquota_both_versions),
		cmocka_unit_test(cpuquota_of_this_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
