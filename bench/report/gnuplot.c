// SPDX-License-Identifier: MIT
#include "bench/report/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/error.h"

#define PATIENCE_MS 30000
#define LOOK_MS 2

/*
 * Files without a name and not pipes: the child can write as much as it likes before it is looked at, and
 * what it leaves unread stops nobody.
 */
struct streams {
	FILE *file[3]; /* its standard input, output, error */
};

static void streams_close(struct streams *streams)
{
	size_t at;

	for (at = 0; at < 3; at++)
		if (streams->file[at])
			fclose(streams->file[at]);
}

static int streams_open(struct streams *streams, const char *script, size_t bytes)
{
	size_t at;

	for (at = 0; at < 3; at++) {
		streams->file[at] = tmpfile();
		if (!streams->file[at] || fcntl(fileno(streams->file[at]), F_SETFD, FD_CLOEXEC) < 0)
			return -errno;
	}
	if (fwrite(script, 1, bytes, streams->file[0]) != bytes || fflush(streams->file[0]))
		return -EIO;
	rewind(streams->file[0]);
	return 0;
}

static int spawn(const struct streams *streams, pid_t *child)
{
	static char name[] = "gnuplot", plain[] = "-d";
	char *const arguments[] = { name, plain, NULL };
	posix_spawn_file_actions_t actions;
	int at, ret = posix_spawn_file_actions_init(&actions);

	if (ret)
		return -ret;
	for (at = 0; at < 3 && !ret; at++)
		ret = posix_spawn_file_actions_adddup2(&actions, fileno(streams->file[at]), at);
	if (!ret)
		ret = posix_spawnp(child, name, &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -ret;
}

/* Its status; -ETIME, and it is gone, if it took too long. */
static int await(pid_t child, int *status)
{
	const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
	unsigned waited;

	for (waited = 0; waited < PATIENCE_MS; waited += LOOK_MS) {
		pid_t found = waitpid(child, status, WNOHANG);

		if (found == child)
			return 0;
		if (found < 0 && errno != EINTR)
			return -errno;
		nanosleep(&pause, NULL);
	}
	kill(child, SIGKILL);
	waitpid(child, status, 0);
	return -ETIME;
}

static int read_back(FILE *from, char **text, size_t *bytes)
{
	long end;

	if (fseek(from, 0, SEEK_END) || (end = ftell(from)) < 0)
		return -errno;
	rewind(from);
	*text = alloc_array((size_t)end + 1, 1);
	if (!*text)
		return -ENOMEM;
	*bytes = fread(*text, 1, (size_t)end, from);
	(*text)[*bytes] = 0;
	return 0;
}

/* The first line of what it complained in that says something. */
static int complain(FILE *from, int status, struct rs_error *error)
{
	char line[160];

	rewind(from);
	while (fgets(line, sizeof(line), from)) {
		line[strcspn(line, "\n")] = 0;
		if (strspn(line, " \t^") < strlen(line))
			return error_set(error, -EIO, "gnuplot: %s", line);
	}
	return error_set(error, -EIO, "gnuplot: ended with status %d", status);
}

static int run(struct streams *streams, char **text, size_t *bytes, struct rs_error *error)
{
	int status = 0, ret;
	pid_t child;

	ret = spawn(streams, &child);
	/* A name in PATH that is no program says so in other words than one that is not there. */
	if (ret == -ENOENT || ret == -EACCES || ret == -ENOTDIR)
		return error_set(error, -ENOENT, "gnuplot is not installed");
	if (ret)
		return error_set(error, ret, "gnuplot: cannot be started: %s", strerror(-ret));
	ret = await(child, &status);
	if (ret)
		return error_set(error, ret, "gnuplot: %s", strerror(-ret));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return complain(streams->file[2], status, error);
	ret = read_back(streams->file[1], text, bytes);
	if (ret)
		return error_set(error, ret, "gnuplot: cannot read its output: %s", strerror(-ret));
	return *bytes ? 0 : complain(streams->file[2], status, error);
}

int gnuplot_run(const char *script, size_t script_bytes, char **text, size_t *bytes,
		struct rs_error *error)
{
	struct streams streams = { { NULL } };
	int ret = streams_open(&streams, script, script_bytes);

	*text = NULL;
	if (ret)
		error_set(error, ret, "gnuplot: no temporary file: %s", strerror(-ret));
	else
		ret = run(&streams, text, bytes, error);
	streams_close(&streams);
	if (ret) {
		alloc_free(*text);
		*text = NULL;
	}
	return ret;
}
