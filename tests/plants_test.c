/* SPDX-License-Identifier: MIT */
/*
 * Each planted bug makes the test that must catch it fail, and without the bug that test passes.
 * The first word of caught_by is the test; "tsan only" in it says that no other build can tell,
 * "not tsan" that the test takes too long there.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/plant.h"

#if defined(__SANITIZE_THREAD__)
#define PLANTS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PLANTS_TSAN 1
#endif
#endif
#ifndef PLANTS_TSAN
#define PLANTS_TSAN 0
#endif

#define NAME_MAX_BYTES 64

static void test_of_plant(const struct plant *plant, char *name)
{
	size_t bytes = strcspn(plant->caught_by, " ");

	assert_in_range(bytes, 1, NAME_MAX_BYTES - 1);
	memcpy(name, plant->caught_by, bytes);
	name[bytes] = 0;
}

/* In every build: the test that the table names is one of the tree. */
static void plants_name_their_tests(void **state)
{
	size_t count;
	const struct plant *table = plant_table(&count);
	unsigned bugs = 0;
	size_t at;

	(void)state;
	for (at = 0; at < count; at++) {
		char name[NAME_MAX_BYTES];
		char path[NAME_MAX_BYTES + 16];

		if (table[at].kind != PLANT_BUG)
			continue;
		bugs++;
		test_of_plant(&table[at], name);
		snprintf(path, sizeof(path), "tests/%s.c", name);
		if (access(path, R_OK))
			fail_msg("%s: there is no %s", table[at].name, path);
	}
	assert_true(bugs > 0);
}

#ifdef RS_PLANTS
/* Longer than any test takes, so that one that hangs ends, and with a signal of its own. */
#define LIMIT_S 200
#define PASSED_MAX 64

static char folder[4096];

/* The status of the test with the plant armed, or with none. What it says goes to `log`. */
static int test_status(const char *test, const char *plant, int log)
{
	char path[sizeof(folder) + NAME_MAX_BYTES];
	pid_t pid;
	int status = -1;

	snprintf(path, sizeof(path), "%s/%s", folder, test);
	pid = fork();
	if (!pid) {
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
		if (plant)
			setenv("REFSTORM_PLANT", plant, 1);
		else
			unsetenv("REFSTORM_PLANT");
		alarm(LIMIT_S);
		execl(path, test, (char *)NULL);
		_exit(77);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void log_show(int log)
{
	char text[4096];
	ssize_t bytes;

	if (lseek(log, 0, SEEK_SET))
		return;
	while ((bytes = read(log, text, sizeof(text) - 1)) > 0) {
		text[bytes] = 0;
		print_message("%s", text);
	}
}

/* The test passes with no plant armed. Each is run once. */
static void pass_unplanted(const char *test, int log)
{
	static char passed[PASSED_MAX][NAME_MAX_BYTES];
	static unsigned count;
	unsigned at;
	int status;

	for (at = 0; at < count; at++)
		if (!strcmp(passed[at], test))
			return;
	status = test_status(test, NULL, log);
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		log_show(log);
		fail_msg("%s does not pass without a plant: status 0x%x", test, (unsigned)status);
	}
	assert_in_range(count, 0, PASSED_MAX - 1);
	memcpy(passed[count++], test, strlen(test) + 1);
}

static void catch_plant(const struct plant *plant)
{
	FILE *file = tmpfile();
	char test[NAME_MAX_BYTES];
	uint64_t begin;
	int status;

	assert_non_null(file);
	test_of_plant(plant, test);
	pass_unplanted(test, fileno(file));
	begin = clock_now_ns();
	status = test_status(test, plant->name, fileno(file));
	if (WIFEXITED(status) && (!WEXITSTATUS(status) || WEXITSTATUS(status) == 77)) {
		log_show(fileno(file));
		fail_msg("%s did not catch %s: status 0x%x", test, plant->name, (unsigned)status);
	}
	print_message("%s: caught by %s in %.1f s, status 0x%x\n", plant->name, test,
		      (double)(clock_now_ns() - begin) / 1e9, (unsigned)status);
	/* A hang is no catch: nobody would know what it was. */
	assert_false(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
	fclose(file);
}

static void plants_are_caught(void **state)
{
	size_t count;
	const struct plant *table = plant_table(&count);
	ssize_t bytes = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
	unsigned caught = 0;
	size_t at;

	(void)state;
	assert_true(bytes > 0);
	folder[bytes] = 0;
	*strrchr(folder, '/') = 0;
	for (at = 0; at < count; at++) {
		if (table[at].kind != PLANT_BUG)
			continue;
		if (strstr(table[at].caught_by, PLANTS_TSAN ? "not tsan" : "tsan only"))
			continue;
		catch_plant(&table[at]);
		caught++;
	}
	assert_true(caught > 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plants_name_their_tests),
#ifdef RS_PLANTS
		cmocka_unit_test(plants_are_caught),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
