// SPDX-License-Identifier: MIT
#include "bench/sweep/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/sweep/crew.h"
#include "bench/sweep/sample_json.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"

#define CHILD_ANSWER_MAX ((size_t)64 << 20)
#define CHILD_LOOK_MS 50

/* What has come through the pipe. */
struct answer {
	char *bytes;
	size_t length;
	size_t capacity;
};

/* Paths lose their directories: results are passed on. */
static json_t *json_error(const struct rs_error *error)
{
	const char *slash = strrchr(error->where, '/');
	const char *where = slash ? slash + 1 : error->where;
	json_t *text = json_sprintf("%s%s%s", where, where[0] ? ": " : "", error->what);

	return text ? text : json_string("it failed, for a reason that is no text");
}

/* The child: takes the sample, and says what came out. */
static void child_main(const struct plan *plan, const struct plan_point *point, unsigned repeat,
		       const struct topology *topology, int fd)
{
	struct sample *sample = alloc_zeroed(1, sizeof(*sample));
	struct rs_error error = RS_ERROR_INIT;
	json_t *answer = NULL;

	if (!sample)
		_exit(1);
	if (sample_run(plan, point, repeat, topology, sample, &error))
		answer = json_pack("{s:o}", "failed", json_error(&error));
	else
		answer = sample_json_pack(sample, crew_operations(point->workload));
	if (!answer || json_dumpfd(answer, fd, JSON_COMPACT))
		_exit(1);
	/* Nothing that is the parent's is flushed or freed. */
	_exit(0);
}

static pid_t child_start(const struct plan *plan, const struct plan_point *point, unsigned repeat,
			 const struct topology *topology, int *fd)
{
	pid_t parent = getpid();
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	child = fork();
	if (!child) {
		/* An interrupt from the terminal comes to all: the parent ends us. */
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_IGN);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
			_exit(1);
		close(ends[0]);
		child_main(plan, point, repeat, topology, ends[1]);
	}
	close(ends[1]);
	if (child < 0)
		close(ends[0]);
	else
		*fd = ends[0];
	return child;
}

/* 1: more may come; 0: that was all; or -1. */
static int answer_read(struct answer *answer, int fd)
{
	ssize_t got;

	if (answer->length == answer->capacity) {
		size_t capacity = answer->capacity ? 2 * answer->capacity : 65536;
		char *bytes = capacity > CHILD_ANSWER_MAX ?
				      NULL :
				      alloc_resize(answer->bytes, capacity, 1);

		if (!bytes)
			return -1;
		answer->bytes = bytes;
		answer->capacity = capacity;
	}
	got = read(fd, answer->bytes + answer->length, answer->capacity - answer->length);
	if (got < 0)
		return errno == EINTR ? 1 : -1;
	answer->length += (size_t)got;
	return got > 0;
}

/* Until it has said all, or is to be ended: then it is. */
static enum child_end listen_to(const struct plan *plan, pid_t child, int fd,
				bool (*interrupted)(void), struct answer *answer)
{
	uint64_t until = clock_now_ns() + (uint64_t)(plan_limit(plan) * 1e9);
	enum child_end end = CHILD_GOOD;

	/* Ends: at `until` at the latest. */
	for (;;) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		int ready = poll(&wait, 1, CHILD_LOOK_MS);
		int more = 1;

		if (ready > 0)
			more = answer_read(answer, fd);
		if (!more)
			return CHILD_GOOD;
		if (more < 0 || (ready < 0 && errno != EINTR))
			end = CHILD_CRASHED;
		else if (interrupted && interrupted())
			end = CHILD_INTERRUPTED;
		else if (clock_now_ns() > until)
			end = CHILD_HUNG;
		if (end != CHILD_GOOD) {
			kill(child, SIGKILL);
			return end;
		}
	}
}

static enum child_end understand(const struct plan_point *point, const struct answer *answer,
				 struct sample *sample, char why[CHILD_WHY_BYTES])
{
	json_t *json = json_loadb(answer->bytes, answer->length, 0, NULL);
	const char *failed = json_string_value(json_object_get(json, "failed"));
	enum child_end end = CHILD_GOOD;

	if (failed) {
		snprintf(why, CHILD_WHY_BYTES, "%s", failed);
		end = CHILD_WRONG;
	} else if (!json || !sample_json_unpack(json, crew_operations(point->workload), sample)) {
		snprintf(why, CHILD_WHY_BYTES, "its process did not say what came out");
		end = CHILD_CRASHED;
	}
	json_decref(json);
	return end;
}

/* How it ended by itself, if not well. */
static enum child_end judge_status(int status, char why[CHILD_WHY_BYTES])
{
	if (WIFSIGNALED(status))
		snprintf(why, CHILD_WHY_BYTES, "crashed: signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		snprintf(why, CHILD_WHY_BYTES, "crashed: its process exited with %d",
			 WEXITSTATUS(status));
	else
		return CHILD_GOOD;
	return CHILD_CRASHED;
}

enum child_end child_run(const struct plan *plan, const struct plan_point *point, unsigned repeat,
			 const struct topology *topology, bool (*interrupted)(void),
			 struct sample *sample, char why[CHILD_WHY_BYTES])
{
	struct answer answer = { 0 };
	enum child_end end;
	int status = 0;
	int fd = -1;
	pid_t child;

	fflush(NULL);
	child = child_start(plan, point, repeat, topology, &fd);
	if (child < 0) {
		snprintf(why, CHILD_WHY_BYTES, "no process to be had: %s", strerror(errno));
		return CHILD_WRONG;
	}
	end = listen_to(plan, child, fd, interrupted, &answer);
	close(fd);
	/* Ends: it has said all, or was killed. */
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (end == CHILD_HUNG)
		snprintf(why, CHILD_WHY_BYTES, "hung: ended after %g s", plan_limit(plan));
	else if (end == CHILD_CRASHED)
		snprintf(why, CHILD_WHY_BYTES, "what its process said could not be read");
	else if (end == CHILD_GOOD)
		end = judge_status(status, why);
	if (end == CHILD_GOOD)
		end = understand(point, &answer, sample, why);
	alloc_free(answer.bytes);
	return end;
}
