/* SPDX-License-Identifier: MIT */
#include "stress/forest/trial.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "stress/forest/hang.h"
#include "stress/forest/round.h"
#include "stress/forest/stacks.h"

#define TICK_NS 2000000L

/* In the child. Ends it, so that a sanitizer looks for leaks. */
static void live(const struct trial *trial, pid_t parent)
{
	const struct rlimit none = { 0, 0 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	/* An interrupt of the terminal is for the parent, which ends this one. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	setrlimit(RLIMIT_CORE, &none);
	dup2(trial->errors_fd, STDOUT_FILENO);
	dup2(trial->errors_fd, STDERR_FILENO);
	stacks_install(trial->board);
	round_run(trial->plan, trial->options, trial->board, trial->script_fd);
	/* Relaxed: its own. */
	exit(order_load_relaxed(&trial->board->outcome) == BOARD_DONE ? 0 : 1);
}

int trial_begin(struct trial *trial, const struct plan *plan,
		const struct campaign_options *options, struct board *board, struct rs_error *error)
{
	pid_t self = getpid();

	*trial = (struct trial){ .plan = plan, .options = options, .board = board };
	board_clear(board);
	trial->script_fd = memfd_create("script", MFD_CLOEXEC);
	trial->errors_fd = memfd_create("errors", MFD_CLOEXEC);
	/* What is buffered would be written by both. */
	fflush(NULL);
	trial->process = trial->script_fd < 0 || trial->errors_fd < 0 ? -1 : fork();
	if (trial->process < 0) {
		int ret = -errno;

		trial_end(trial);
		return error_set(error, ret, "a process for a round cannot be had: %s",
				 strerror(-ret));
	}
	if (!trial->process)
		live(trial, self);
	return 0;
}

static void end_process(struct trial *trial)
{
	kill(trial->process, SIGKILL);
	while (waitpid(trial->process, &trial->status, 0) < 0 && errno == EINTR)
		;
}

/* What the sanitizers say stands in the text that they leave; their exit codes are anybody's. */
static bool has_leaked(const struct trial *trial)
{
	size_t bytes;
	char *text = trial_read(trial->errors_fd, &bytes);
	bool leak = text && strstr(text, "ERROR: LeakSanitizer") &&
		    !strstr(text, "ERROR: AddressSanitizer");

	alloc_free(text);
	return leak;
}

static void judge_death(struct trial *trial)
{
	if (WIFSIGNALED(trial->status)) {
		trial->verdict = CAMPAIGN_CRASH;
		snprintf(trial->why, sizeof(trial->why), "the round died by signal %d (%s)",
			 WTERMSIG(trial->status), strsignal(WTERMSIG(trial->status)));
		return;
	}
	trial->verdict = has_leaked(trial) ? CAMPAIGN_LEAK : CAMPAIGN_CRASH;
	snprintf(trial->why, sizeof(trial->why), "the round ended with exit code %d: %s",
		 WEXITSTATUS(trial->status),
		 trial->verdict == CAMPAIGN_LEAK ? "memory leaked" : "see stderr.txt");
}

/* It has ended by itself. */
static void judge(struct trial *trial)
{
	struct board *board = trial->board;
	bool clean = WIFEXITED(trial->status) && !WEXITSTATUS(trial->status);

	/* Relaxed: the process has ended. */
	switch (order_load_relaxed(&board->outcome)) {
	case BOARD_WRONG:
		trial->verdict = CAMPAIGN_ORACLE;
		break;
	case BOARD_LEAKS:
		trial->verdict = CAMPAIGN_LEAK;
		break;
	case BOARD_UNUSABLE:
		trial->verdict = CAMPAIGN_UNUSABLE;
		break;
	case BOARD_DONE:
		if (clean) {
			trial->verdict = CAMPAIGN_PASS;
			return;
		}
		judge_death(trial);
		return;
	default:
		judge_death(trial);
		return;
	}
	board->why[sizeof(board->why) - 1] = 0;
	snprintf(trial->why, sizeof(trial->why), "%s", board->why);
}

static void judge_hang(struct trial *trial)
{
	hang_describe(trial->process, trial->board, trial->errors_fd);
	trial->verdict = CAMPAIGN_HANG;
	snprintf(trial->why, sizeof(trial->why), "nothing moved for %g s",
		 trial->options->hang_seconds);
	end_process(trial);
}

void trial_wait(struct trial *trial, void (*tick)(void *argument), void *argument)
{
	const struct timespec pause = { .tv_nsec = TICK_NS };
	struct hang hang;

	hang_begin(&hang);
	while (waitpid(trial->process, &trial->status, WNOHANG) != trial->process) {
		if (trial->options->interrupted && trial->options->interrupted()) {
			end_process(trial);
			trial->verdict = CAMPAIGN_INTERRUPTED;
			return;
		}
		if (hang_look(&hang, trial->board, trial->options->hang_seconds)) {
			judge_hang(trial);
			return;
		}
		tick(argument);
		nanosleep(&pause, NULL);
	}
	judge(trial);
}

void trial_end(struct trial *trial)
{
	if (trial->script_fd >= 0)
		close(trial->script_fd);
	if (trial->errors_fd >= 0)
		close(trial->errors_fd);
}

char *trial_read(int fd, size_t *bytes)
{
	struct stat about;
	char *text;

	*bytes = 0;
	if (fstat(fd, &about))
		return NULL;
	text = alloc_array((size_t)about.st_size + 1, 1);
	if (!text)
		return NULL;
	while (*bytes < (size_t)about.st_size) {
		ssize_t got =
			pread(fd, text + *bytes, (size_t)about.st_size - *bytes, (off_t)*bytes);

		if (got <= 0)
			break;
		*bytes += (size_t)got;
	}
	text[*bytes] = 0;
	return text;
}
