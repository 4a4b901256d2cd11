/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/stopper.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/order.h"
#include "core/base/random.h"

#define STOPPER_THREADS 4096U
#define STOPPER_LIVE 16U
#define STOPPER_NOTES 65536U

/* In memory that both processes share. */
struct stopper {
	pid_t tracer; /* set by the test */
	unsigned us_max;
	uint64_t seed;
	order_u32 ready; /* 1: tracing is allowed, 2: it is not */
	order_u32 over;
	order_u32 added;
	order_u32 threads[STOPPER_THREADS]; /* the kernel's ids; 0: not known yet */
	order_u64 stops;
	uint64_t notes[STOPPER_NOTES]; /* the tracer's; read when it has ended */
};

/* The tracer's own: which threads it traces, by their places in `threads`. */
static bool stopper_traced[STOPPER_THREADS];

static void stopper_sleep(uint64_t us)
{
	struct timespec pause = { .tv_nsec = (long)us * 1000 };

	nanosleep(&pause, NULL);
}

static uint64_t stopper_instruction(pid_t thread)
{
#ifdef __x86_64__
	struct user_regs_struct registers;

	if (!ptrace(PTRACE_GETREGS, thread, NULL, &registers))
		return registers.rip;
#else
	(void)thread;
#endif
	return 0;
}

/* Waits for the stop that was asked for; signals that come before it are passed on. False: it has ended. */
static bool stopper_wait(pid_t thread)
{
	int status;

	/* Ends: the thread stops, or it ends. */
	for (;;) {
		if (waitpid(thread, &status, __WALL) < 0 || !WIFSTOPPED(status))
			return false;
		if (status >> 16 == PTRACE_EVENT_STOP)
			return true;
		ptrace(PTRACE_CONT, thread, NULL, (void *)(intptr_t)WSTOPSIG(status));
	}
}

/* False: the thread is gone. */
static bool stopper_stop(struct stopper *stopper, pid_t thread, uint64_t us)
{
	uint64_t stops = order_load_relaxed(&stopper->stops);

	if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) || !stopper_wait(thread))
		return false;
	stopper->notes[stops % STOPPER_NOTES] = stopper_instruction(thread);
	/* Relaxed: read when the process has ended. */
	order_store_relaxed(&stopper->stops, stops + 1);
	stopper_sleep(us);
	return !ptrace(PTRACE_CONT, thread, NULL, NULL);
}

/* One of those added last: the others have ended, most likely. */
static uint32_t stopper_choose(struct random_state *random, uint32_t added)
{
	if (added > STOPPER_THREADS)
		added = STOPPER_THREADS;
	if (added <= STOPPER_LIVE)
		return (uint32_t)random_state_below(random, STOPPER_LIVE);
	return added - 1 - (uint32_t)random_state_below(random, STOPPER_LIVE);
}

static void stopper_trace(struct stopper *stopper)
{
	struct random_state random;

	random_state_seed(&random, stopper->seed, 0);
	/* Relaxed, all of them: numbers that need nothing else. Ends: the test says so. */
	while (!order_load_relaxed(&stopper->over) && getppid() != 1) {
		uint32_t added = order_load_relaxed(&stopper->added);
		uint32_t at = stopper_choose(&random, added);
		pid_t thread = (pid_t)order_load_relaxed(&stopper->threads[at]);

		if (!thread) {
			stopper_sleep(50);
			continue;
		}
		if (!stopper_traced[at])
			stopper_traced[at] = !ptrace(PTRACE_SEIZE, thread, NULL, NULL);
		if (!stopper_traced[at] ||
		    !stopper_stop(stopper, thread, random_state_below(&random, stopper->us_max)))
			order_store_relaxed(&stopper->threads[at], 0);
	}
}

/* Whether tracing is allowed is found out on the thread of the test. */
static void stopper_main(struct stopper *stopper, pid_t tested)
{
	bool allowed;

	/* Where that is allowed: else it comes to little beside threads that never rest. */
	setpriority(PRIO_PROCESS, 0, -15);
	/* Relaxed: waits for the permission that the test gives after the fork. */
	while (!order_load_relaxed(&stopper->ready))
		stopper_sleep(50);
	allowed = !ptrace(PTRACE_SEIZE, tested, NULL, NULL);
	if (allowed)
		allowed = !ptrace(PTRACE_INTERRUPT, tested, NULL, NULL) && stopper_wait(tested) &&
			  !ptrace(PTRACE_DETACH, tested, NULL, NULL);
	order_store_relaxed(&stopper->ready, allowed ? 3 : 2);
	if (allowed)
		stopper_trace(stopper);
	_exit(0);
}

struct stopper *stopper_begin(uint64_t seed, unsigned us_max)
{
	pid_t tested = getpid();
	pid_t tracer;
	struct stopper *stopper = mmap(NULL, sizeof(*stopper), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(stopper, MAP_FAILED);
	stopper->us_max = us_max;
	stopper->seed = seed;
	tracer = fork();
	assert_true(tracer >= 0);
	if (!tracer)
		stopper_main(stopper, tested);
	stopper->tracer = tracer;
	prctl(PR_SET_PTRACER, tracer);
	order_store_relaxed(&stopper->ready, 1);
	/* Ends: the tracer answers. */
	while (order_load_relaxed(&stopper->ready) == 1)
		stopper_sleep(50);
	if (order_load_relaxed(&stopper->ready) == 3)
		return stopper;
	print_message("stopper: tracing is not allowed here\n");
	stopper_end(stopper, NULL, NULL);
	return NULL;
}

void stopper_add(struct stopper *stopper)
{
	uint32_t at;

	if (!stopper)
		return;
	/* Relaxed, both: the id alone is of use. */
	at = order_fetch_add_relaxed(&stopper->added, 1);
	if (at < STOPPER_THREADS)
		order_store_relaxed(&stopper->threads[at], (uint32_t)gettid());
}

uint64_t stopper_count(const struct stopper *stopper)
{
	return order_load_relaxed(&stopper->stops);
}

uint64_t stopper_end(struct stopper *stopper, stopper_fn *fn, void *argument)
{
	uint64_t stops;
	uint64_t at;

	order_store_relaxed(&stopper->over, 1);
	assert_int_equal(waitpid(stopper->tracer, NULL, 0), stopper->tracer);
	stops = order_load_relaxed(&stopper->stops);
	for (at = 0; fn && at < stops && at < STOPPER_NOTES; at++)
		fn(argument, stopper->notes[at]);
	munmap(stopper, sizeof(*stopper));
	return stops;
}
