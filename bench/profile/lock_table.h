/* SPDX-License-Identifier: MIT */
/* The locks of the process by name: those of one name added up. One thread. */
#ifndef REFSTORM_BENCH_PROFILE_LOCK_TABLE_H
#define REFSTORM_BENCH_PROFILE_LOCK_TABLE_H

#include <stddef.h>

#include "core/base/lock.h"

struct lock_table {
	struct lock_statistics *rows;
	size_t count;
	size_t capacity;
};

/* As they are now. 0 or -ENOMEM, and then nothing is to be destroyed. */
int lock_table_read(struct lock_table *table) __attribute__((warn_unused_result));
void lock_table_destroy(struct lock_table *table);

/*
 * Leaves what happened after `begin` was read, the longest waits first. What a lock that was destroyed
 * meanwhile did is not known any more.
 */
void lock_table_subtract(struct lock_table *table, const struct lock_table *begin);

#endif /* REFSTORM_BENCH_PROFILE_LOCK_TABLE_H */
