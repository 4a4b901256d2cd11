// SPDX-License-Identifier: MIT
#include "bench/profile/lock_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

struct lock_table_reading {
	struct lock_table *table;
	int result;
};

static struct lock_statistics *lock_table_find(const struct lock_table *table, const char *name)
{
	size_t at;

	for (at = 0; at < table->count; at++)
		if (!strcmp(table->rows[at].name, name))
			return &table->rows[at];
	return NULL;
}

static void lock_table_add(const struct lock_statistics *statistics, void *argument)
{
	struct lock_table_reading *reading = argument;
	struct lock_table *table = reading->table;
	struct lock_statistics *row = lock_table_find(table, statistics->name);
	void *grown;

	if (row) {
		lock_statistics_add(row, statistics);
		return;
	}
	grown = array_grow(table->rows, table->count, 1, &table->capacity, sizeof(*row));
	if (!grown) {
		reading->result = -ENOMEM;
		return;
	}
	table->rows = grown;
	table->rows[table->count++] = *statistics;
}

int lock_table_read(struct lock_table *table)
{
	struct lock_table_reading reading = { table, 0 };

	*table = (struct lock_table){ 0 };
	lock_statistics_each(lock_table_add, &reading);
	if (reading.result)
		lock_table_destroy(table);
	return reading.result;
}

void lock_table_destroy(struct lock_table *table)
{
	alloc_free(table->rows);
	*table = (struct lock_table){ 0 };
}

static int lock_table_order(const void *a, const void *b)
{
	const struct lock_statistics *one = a;
	const struct lock_statistics *other = b;

	if (one->wait_ns != other->wait_ns)
		return one->wait_ns < other->wait_ns ? 1 : -1;
	if (one->acquisitions != other->acquisitions)
		return one->acquisitions < other->acquisitions ? 1 : -1;
	return strcmp(one->name, other->name);
}

void lock_table_subtract(struct lock_table *table, const struct lock_table *begin)
{
	size_t at;

	for (at = 0; at < table->count; at++) {
		const struct lock_statistics *before = lock_table_find(begin, table->rows[at].name);

		if (before)
			lock_statistics_subtract(&table->rows[at], before);
	}
	if (table->count)
		qsort(table->rows, table->count, sizeof(table->rows[0]), lock_table_order);
}
