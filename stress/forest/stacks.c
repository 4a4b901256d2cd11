/* SPDX-License-Identifier: MIT */
#include "stress/forest/stacks.h"

#include <errno.h>
#include <execinfo.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/lock.h"

#define FRAMES_MAX 64
#define LOCKS_MAX 16U

static struct board *stacks_board;
static __thread const struct board_seat *stacks_own;

static void put(const char *text)
{
	(void)!write(STDERR_FILENO, text, strlen(text));
}

/* No stdio in handlers. */
static void put_number(uint64_t number)
{
	char text[24];
	char *at = text + sizeof(text) - 1;

	*at = 0;
	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	put(at);
}

static void put_locks(void)
{
	const char *names[LOCKS_MAX];
	int count = lock_held(names, LOCKS_MAX);
	int at;

	put("; locks held: ");
	if (count < 0)
		put("not known in this build");
	if (!count)
		put("none");
	for (at = 0; at < count && at < (int)LOCKS_MAX; at++) {
		put(at ? ", " : "");
		put(names[at]);
	}
}

static void put_self(void)
{
	const struct board_seat *seat = stacks_own;
	void *frames[FRAMES_MAX];
	uint64_t begun;

	put("thread ");
	put_number((uint64_t)gettid());
	if (seat) {
		/* Relaxed: its own words. */
		begun = order_load_relaxed(&seat->begun);
		put(order_load_relaxed(&seat->inside) ? ", in line " : ", behind line ");
		put_number(begun ? order_load_relaxed(&seat->lines[(begun - 1) % BOARD_LINES]) : 0);
	}
	put_locks();
	put("\n");
	backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
}

static void on_demand(int number)
{
	int error = errno;

	(void)number;
	put_self();
	/* Relaxed: a number that moves; the text went through the file. */
	order_fetch_add_relaxed(&stacks_board->stacks, 1);
	errno = error;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void on_death(int number)
{
	put("signal ");
	put_number((uint64_t)number);
	put(": ");
	put_self();
	/* What is done about it otherwise comes when this returns: the handler was for one time. */
	raise(number);
}

static void install_death(void)
{
	static const int deaths[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	struct sigaction action = { .sa_handler = on_death, .sa_flags = (int)SA_RESETHAND };
	unsigned at;

	sigemptyset(&action.sa_mask);
	for (at = 0; at < sizeof(deaths) / sizeof(deaths[0]); at++)
		sigaction(deaths[at], &action, NULL);
}
#else
static void install_death(void)
{
}
#endif

void stacks_install(struct board *board)
{
	struct sigaction action = { .sa_handler = on_demand, .sa_flags = SA_RESTART };
	void *frame;

	stacks_board = board;
	/* The first call loads a library, which a handler must not. */
	(void)!backtrace(&frame, 1);
	sigemptyset(&action.sa_mask);
	sigaction(STACKS_SIGNAL, &action, NULL);
	install_death();
}

void stacks_seat(const struct board_seat *seat)
{
	stacks_own = seat;
}
