// SPDX-License-Identifier: MIT
#include "bench/profile/perf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"

extern char **environ;

#define BEGIN_MS 30000
#define END_MS 60000
#define SIZE_MOST "1G" /* of its data */
#define ARGUMENTS 40

struct perf_pipe {
	int read;
	int write;
};

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool pipe_open(struct perf_pipe *ends)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return false;
	*ends = (struct perf_pipe){ fds[0], fds[1] };
	return true;
}

static void path_in(const struct perf *perf, const char *name, char *path, size_t bytes)
{
	snprintf(path, bytes, "%s/%s", perf->directory, name);
}

/* What perf has said of an error, or its last line that says something. */
static void last_words(const struct perf *perf, char *text, size_t bytes)
{
	char path[128];
	char line[256];
	bool error = false;
	FILE *file;

	snprintf(text, bytes, "it said nothing");
	path_in(perf, "messages", path, sizeof(path));
	file = fopen(path, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		const char *begin = line + strspn(line, " \t");

		line[strcspn(line, "\n")] = '\0';
		if (!*begin)
			continue;
		snprintf(text, bytes, "%s", begin);
		/* What it is stands on the line behind, and advice after that. */
		if (error)
			break;
		error = !strcmp(begin, "Error:");
	}
	fclose(file);
}

static int perf_fail(const struct perf *perf, int code, const char *what, struct rs_error *error)
{
	char words[200];

	last_words(perf, words, sizeof(words));
	error_set(error, code, "perf %s: %s", what, words);
	return code;
}

static int directory_make(struct perf *perf, struct rs_error *error)
{
	const char *place = getenv("TMPDIR");
	int used = snprintf(perf->directory, sizeof(perf->directory), "%s/refstorm-profile-XXXXXX",
			    place && *place ? place : "/tmp");

	if (used < 0 || (size_t)used >= sizeof(perf->directory))
		snprintf(perf->directory, sizeof(perf->directory), "/tmp/refstorm-profile-XXXXXX");
	if (mkdtemp(perf->directory))
		return 0;
	used = -errno;
	error_set(error, used, "no directory for perf's data: %s", strerror(-used));
	perf->directory[0] = '\0';
	return used;
}

/* `out` becomes its standard output; -1: what it prints there goes to its messages. */
static int perf_start(struct perf *perf, const char *const *arguments, int out,
		      struct rs_error *error)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t signals;
	char path[128];
	int result;

	path_in(perf, "messages", path, sizeof(path));
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	/* Not what this program has made of signals; and an interrupt is for this program to answer. */
	sigfillset(&signals);
	posix_spawnattr_setsigdefault(&attributes, &signals);
	sigemptyset(&signals);
	posix_spawnattr_setsigmask(&attributes, &signals);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
						      POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, path,
					 O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&actions, out >= 0 ? out : STDERR_FILENO, STDOUT_FILENO);
	result = posix_spawnp(&perf->pid, "perf", &actions, &attributes,
			      (char *const *)(uintptr_t)arguments, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	if (!result)
		return 0;
	perf->pid = 0;
	if (result == ENOENT)
		error_set(error, -ENOENT, "perf is not installed (the package linux-perf)");
	else
		error_set(error, -result, "perf cannot be started: %s", strerror(result));
	return -result;
}

/* Waits until it has ended, a signal after each time that it was given. Its exit status, or -1. */
static int perf_wait(struct perf *perf, int timeout_ms)
{
	static const int signals[] = { SIGINT, SIGKILL };
	uint64_t until = clock_now_ns() + (uint64_t)timeout_ms * 1000000;
	unsigned sent = 0;
	int status;
	pid_t pid = 0;

	/* Ends: what is killed ends. */
	while (perf->pid && (pid = waitpid(perf->pid, &status, WNOHANG)) == 0) {
		if (sent < 2 && clock_now_ns() > until) {
			kill(perf->pid, signals[sent++]);
			until = clock_now_ns() + UINT64_C(2000000000);
		}
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	perf->pid = 0;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* False: it has ended, or says nothing. */
static bool perf_answers(struct perf *perf)
{
	struct pollfd wait = { .fd = perf->answers, .events = POLLIN };
	uint64_t until = clock_now_ns() + (uint64_t)BEGIN_MS * 1000000;
	char answer[16];

	/* A signal to this program does not end the wait: it is looked at afterwards. */
	while (clock_now_ns() < until)
		if (poll(&wait, 1, 100) > 0)
			return read(perf->answers, answer, sizeof(answer)) > 0;
	return false;
}

static bool perf_tell(struct perf *perf, const char *what)
{
	size_t bytes = strlen(what);

	/* It may have ended: then there is an error and no signal. */
	return write(perf->control, what, bytes) == (ssize_t)bytes;
}

static void record_arguments(const struct perf *perf, char texts[4][160], uint64_t number,
			     const char **to)
{
	static const char *const always[] = { "perf",       "record",       "--no-buildid-cache",
					      "--max-size", SIZE_MOST,      "-D",
					      "-1",         "--call-graph", "dwarf,8192" };
	static const char *const on_cpu[] = { "-e", "cpu-clock", "-F" };
	static const char *const off_cpu[] = { "-e", "context-switches", "--switch-events", "-c" };
	const char *const *more = perf->kind == PERF_ON_CPU ? on_cpu : off_cpu;
	size_t more_count = perf->kind == PERF_ON_CPU ? 3 : 4;
	size_t at;

	for (at = 0; at < sizeof(always) / sizeof(always[0]); at++)
		*to++ = always[at];
	for (at = 0; at < more_count; at++)
		*to++ = more[at];
	snprintf(texts[0], sizeof(texts[0]), "%" PRIu64, number);
	*to++ = texts[0];
	/* Others may lock less memory than larger buffers need. */
	if (!geteuid()) {
		*to++ = "-m";
		*to++ = "256";
	}
	path_in(perf, "data", texts[1], sizeof(texts[1]));
	*to++ = "-o";
	*to++ = texts[1];
	snprintf(texts[2], sizeof(texts[2]), "%d", (int)getpid());
	*to++ = "-p";
	*to++ = texts[2];
	*to++ = "--control";
	*to++ = texts[3];
	*to = NULL;
}

/* The ends that are perf's stay open in it and nowhere else. */
static int perf_record(struct perf *perf, uint64_t number, struct rs_error *error)
{
	const char *arguments[ARGUMENTS];
	struct perf_pipe control;
	struct perf_pipe answers;
	char texts[4][160];
	int result;

	if (!pipe_open(&control)) {
		result = -errno;
		error_set(error, result, "no pipe to perf: %s", strerror(-result));
		return result;
	}
	if (!pipe_open(&answers)) {
		result = -errno;
		close_end(&control.read);
		close_end(&control.write);
		error_set(error, result, "no pipe from perf: %s", strerror(-result));
		return result;
	}
	perf->control = control.write;
	perf->answers = answers.read;
	fcntl(control.read, F_SETFD, 0);
	fcntl(answers.write, F_SETFD, 0);
	snprintf(texts[3], sizeof(texts[3]), "fd:%d,%d", control.read, answers.write);
	record_arguments(perf, texts, number, arguments);
	result = perf_start(perf, arguments, -1, error);
	close_end(&control.read);
	close_end(&answers.write);
	return result;
}

/* Others get no switches of theirs where the system does not trust them: not an error, but nothing to be seen. */
static bool may_see_switches(void)
{
	FILE *file = fopen("/proc/sys/kernel/perf_event_paranoid", "re");
	int level = 2;

	if (!geteuid()) {
		if (file)
			fclose(file);
		return true;
	}
	if (file) {
		if (fscanf(file, "%d", &level) != 1)
			level = 2;
		fclose(file);
	}
	return level < 2;
}

int perf_begin(struct perf *perf, enum perf_kind kind, uint64_t number, struct rs_error *error)
{
	int result;

	*perf = (struct perf){ .kind = kind, .control = -1, .answers = -1 };
	if (kind == PERF_OFF_CPU && !may_see_switches()) {
		error_set(error, -EACCES,
			  "switches between threads are seen by root, or where "
			  "kernel.perf_event_paranoid is below 2");
		return -EACCES;
	}
	/* perf may end while it is told something. */
	signal(SIGPIPE, SIG_IGN);
	result = directory_make(perf, error);
	if (!result)
		result = perf_record(perf, number, error);
	if (!result && !(perf_tell(perf, "enable\n") && perf_answers(perf))) {
		perf_wait(perf, 0);
		result = perf_fail(perf, -EIO, "record does not begin", error);
	}
	if (result)
		perf_close(perf, NULL);
	return result;
}

int perf_end(struct perf *perf, struct rs_error *error)
{
	int status;

	(void)perf_tell(perf, "stop\n");
	/* The ends stay open up to then: perf takes one that hangs up for an error. */
	status = perf_wait(perf, END_MS);
	close_end(&perf->control);
	close_end(&perf->answers);
	return status ? perf_fail(perf, -EIO, "record failed", error) : 0;
}

FILE *perf_read(struct perf *perf, struct rs_error *error)
{
	char path[128];
	const char *arguments[] = { "perf",
				    "script",
				    "-i",
				    path,
				    "--ns",
				    "--no-inline",
				    "-F",
				    "pid,tid,time,event,ip,sym,dso",
				    perf->kind == PERF_OFF_CPU ? "--show-switch-events" : NULL,
				    NULL };
	struct perf_pipe text;
	int result;

	path_in(perf, "data", path, sizeof(path));
	if (!pipe_open(&text)) {
		error_set(error, -errno, "no pipe from perf: %s", strerror(errno));
		return NULL;
	}
	result = perf_start(perf, arguments, text.write, error);
	close_end(&text.write);
	if (!result)
		perf->text = fdopen(text.read, "r");
	if (!perf->text)
		close_end(&text.read);
	if (!perf->text && !result)
		error_set(error, -ENOMEM, "no memory for perf's text");
	return perf->text;
}

int perf_close(struct perf *perf, struct rs_error *error)
{
	static const char *const names[] = { "data", "messages" };
	bool read = perf->text != NULL;
	char path[128];
	int result = 0;
	int status;
	size_t at;

	/* Before it is waited for: it may be writing. */
	if (read)
		fclose(perf->text);
	perf->text = NULL;
	close_end(&perf->control);
	close_end(&perf->answers);
	status = perf_wait(perf, read ? END_MS : 0);
	if (read && status)
		result = perf_fail(perf, -EIO, "script failed", error);
	for (at = 0; at < 2 && perf->directory[0]; at++) {
		path_in(perf, names[at], path, sizeof(path));
		unlink(path);
	}
	if (perf->directory[0])
		rmdir(perf->directory);
	perf->directory[0] = '\0';
	return result;
}
