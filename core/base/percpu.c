/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/base/percpu.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/alloc.h"

/* More CPUs than any kernel is built for; keeps nonsense in a file from filling the memory. */
#define PERCPU_MAX 65536

/* The highest number of a list such as "0-3,8-11", plus one; 0 if it is no list. */
static unsigned percpu_list_end(const char *text)
{
	unsigned end = 0;
	char *after;

	for (;;) {
		unsigned long number;

		if (*text < '0' || *text > '9')
			return 0;
		number = strtoul(text, &after, 10);
		if (number >= PERCPU_MAX)
			return 0;
		if (number >= end)
			end = (unsigned)number + 1;
		if (*after == '\0' || *after == '\n')
			return end;
		if (*after != '-' && *after != ',')
			return 0;
		text = after + 1;
	}
}

static unsigned percpu_possible_read(void)
{
	FILE *file = fopen("/sys/devices/system/cpu/possible", "re");
	char line[1024];
	unsigned end = 0;
	long configured;

	if (file) {
		if (fgets(line, sizeof(line), file))
			end = percpu_list_end(line);
		fclose(file);
	}
	if (end)
		return end;
	configured = sysconf(_SC_NPROCESSORS_CONF);
	return configured > 0 && configured <= PERCPU_MAX ? (unsigned)configured : 1;
}

unsigned percpu_possible(void)
{
	/* Relaxed: the number is all there is; threads that race to read it find the same. */
	static order_u32 possible;
	uint32_t known = order_load_relaxed(&possible);

	if (!known) {
		known = percpu_possible_read();
		order_store_relaxed(&possible, known);
	}
	return known;
}

int percpu_create(struct percpu *percpu, size_t bytes)
{
	size_t stride;

	*percpu = (struct percpu){ 0 };
	if (!bytes)
		bytes = 1;
	if (__builtin_add_overflow(bytes, ORDER_LINE - 1, &stride))
		return -ENOMEM;
	stride -= stride % ORDER_LINE;
	percpu->base = alloc_aligned(ORDER_LINE, percpu_possible(), stride);
	if (!percpu->base)
		return -ENOMEM;
	percpu->stride = stride;
	percpu->count = percpu_possible();
	return 0;
}

void percpu_destroy(struct percpu *percpu)
{
	alloc_free(percpu->base);
	*percpu = (struct percpu){ 0 };
}

unsigned percpu_current_slow(void)
{
	int cpu = sched_getcpu();

	return cpu < 0 ? 0 : (unsigned)cpu;
}
