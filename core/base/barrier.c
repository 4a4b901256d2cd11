/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/base/barrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Between two tries, and the most of them. */
#define BARRIER_NAP_NS 1000000L
#define BARRIER_TRIES 1000U

/* Written once, by barrier_start, before whoever could read it begins. */
bool barrier_asymmetric;
static bool barrier_restarts;
static pthread_once_t barrier_once = PTHREAD_ONCE_INIT;

static long barrier_call(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

static void barrier_register(void)
{
	long has = barrier_call(MEMBARRIER_CMD_QUERY);

	if (has < 0)
		return;
	barrier_asymmetric = (has & MEMBARRIER_CMD_PRIVATE_EXPEDITED) &&
			     !barrier_call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
	barrier_restarts = (has & MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ) &&
			   !barrier_call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ);
}

void barrier_start(void)
{
	pthread_once(&barrier_once, barrier_register);
}

bool barrier_can_restart(void)
{
	barrier_start();
	return barrier_restarts;
}

/* Once the process is registered it fails only while the kernel has no memory; without it nothing holds. */
static void barrier_force(int command)
{
	const struct timespec nap = { .tv_nsec = BARRIER_NAP_NS };
	unsigned tries = 0;

	while (barrier_call(command)) {
		if (errno != ENOMEM || ++tries == BARRIER_TRIES)
			abort();
		nanosleep(&nap, NULL);
	}
}

void barrier_heavy(void)
{
	order_fence_full();
	if (barrier_asymmetric)
		barrier_force(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

void barrier_restart(void)
{
	order_fence_full();
	barrier_force(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ);
}
