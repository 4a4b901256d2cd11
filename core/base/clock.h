/* SPDX-License-Identifier: MIT */
/* The monotonic clock. Callers: any thread. */
#ifndef REFSTORM_BASE_CLOCK_H
#define REFSTORM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds since some moment before the program began; never 0. */
static inline uint64_t clock_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

#endif /* REFSTORM_BASE_CLOCK_H */
