// SPDX-License-Identifier: MIT
#include "bench/sweep/sample_locks.h"

#include <stdio.h>
#include <string.h>

static size_t find(const struct sample_lock *locks, size_t count, const char *name)
{
	size_t at;

	for (at = 0; at < count; at++)
		if (!strcmp(locks[at].name, name))
			break;
	return at;
}

void sample_locks_add(struct sample_lock *into, size_t *count, const char *name,
		      const struct lock_statistics *numbers)
{
	size_t at = find(into, *count, name);

	if (at < *count) {
		lock_statistics_add(&into[at].numbers, numbers);
	} else if (at < SAMPLE_LOCKS_MAX) {
		/* There are far fewer names than that; another one is not worth a failure. */
		snprintf(into[at].name, sizeof(into[at].name), "%s", name);
		into[at].numbers = *numbers;
		into[at].numbers.name = NULL;
		*count = at + 1;
	}
}

static void add(const struct lock_statistics *statistics, void *argument)
{
	struct sample *sample = argument;

	sample_locks_add(sample->locks, &sample->lock_count, statistics->name, statistics);
}

void sample_locks_read(struct sample *sample)
{
	sample->lock_count = 0;
	lock_statistics_each(add, sample);
}

void sample_locks_since(struct sample *sample, const struct sample *before)
{
	size_t at;

	for (at = 0; at < sample->lock_count; at++) {
		size_t found = find(before->locks, before->lock_count, sample->locks[at].name);

		if (found < before->lock_count)
			lock_statistics_subtract(&sample->locks[at].numbers,
						 &before->locks[found].numbers);
	}
}
