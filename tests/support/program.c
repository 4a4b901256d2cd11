/* SPDX-License-Identifier: MIT */
#include "tests/support/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX 32

const char *program_path(void)
{
	return getenv("REFSTORM");
}

int program_file(char path[PROGRAM_PATH_BYTES])
{
	int fd = memfd_create("refstorm-test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	snprintf(path, PROGRAM_PATH_BYTES, "/proc/%d/fd/%d", (int)getpid(), fd);
	return fd;
}

int program_image(const struct image_build *build, char path[PROGRAM_PATH_BYTES])
{
	int fd = program_file(path);

	image_build_write(build, 0, fd);
	return fd;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void take_text(int fd, char text[PROGRAM_TEXT_BYTES])
{
	ssize_t got = pread(fd, text, PROGRAM_TEXT_BYTES - 1, 0);

	assert_true(got >= 0);
	text[got] = '\0';
	close(fd);
}

/*
 * The thread sanitizer would sleep for a second at the end of each run; and it
 * needs a long memory to see in whose call something was written, by which what
 * liburcu does is told from what we do.
 */
static void set_sanitizer(void)
{
	const char *options = getenv("TSAN_OPTIONS");
	char more[4096];

	snprintf(more, sizeof(more), "%s:atexit_sleep_ms=0:history_size=7", options ? options : "");
	setenv("TSAN_OPTIONS", more, 1);
}

static pid_t start(const char *const *arguments, int out, int err)
{
	const char *argv[ARGUMENTS_MAX + 2] = { program_path() };
	size_t count = 1;
	pid_t pid;

	for (; arguments[count - 1]; count++) {
		assert_true(count <= ARGUMENTS_MAX);
		argv[count] = arguments[count - 1];
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid)
		return pid;
	set_sanitizer();
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

void program_run(const char *const *arguments, double seconds, struct program_result *result)
{
	char path[PROGRAM_PATH_BYTES];
	double begin = now();
	int out = program_file(path);
	int err = program_file(path);
	pid_t pid = start(arguments, out, err);
	struct pollfd ended = { .fd = pidfd_open(pid, 0), .events = POLLIN };
	struct rusage usage;
	int status;

	assert_true(ended.fd >= 0);
	if (poll(&ended, 1, (int)(seconds * 1000)) != 1)
		kill(pid, SIGKILL);
	close(ended.fd);
	assert_int_equal(wait4(pid, &status, 0, &usage), pid);
	result->seconds = now() - begin;
	result->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	result->peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
	take_text(out, result->out);
	take_text(err, result->err);
}
