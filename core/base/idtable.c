// SPDX-License-Identifier: MIT
#include "core/base/idtable.h"

#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/lock.h"
#include "core/base/plant.h"

#define FIRST_ENTRIES 64U

struct idtable_shard {
	struct lock lock; /* protects insertion into the shard and `count` */
	order_u32 count;
} __attribute__((aligned(ORDER_LINE)));

static struct idtable_array *array_create(uint32_t entries)
{
	size_t bytes = sizeof(struct idtable_array) + entries * sizeof(order_u64);
	struct idtable_array *array = alloc_zeroed(1, bytes);

	if (array)
		array->mask = entries - 1;
	return array;
}

static void array_free(struct rcu_deferred *deferred)
{
	/* `deferred` is the first member. */
	alloc_free((struct idtable_array *)deferred);
}

int idtable_init(struct idtable *table)
{
	unsigned at;

	table->shards = alloc_aligned(ORDER_LINE, IDTABLE_SHARDS, sizeof(*table->shards));
	table->arrays = alloc_aligned(ORDER_LINE, IDTABLE_SHARDS, sizeof(*table->arrays));
	if (!table->shards || !table->arrays)
		goto no_memory;
	for (at = 0; at < IDTABLE_SHARDS; at++) {
		struct idtable_array *array = array_create(FIRST_ENTRIES);

		if (!array)
			goto no_arrays;
		lock_init(&table->shards[at].lock, LOCK_RANK_IDTABLE, "idtable shard");
		/* Relaxed: nobody else knows the table yet. */
		order_store_relaxed(&table->arrays[at], array);
	}
	return 0;

no_arrays:
	while (at--) {
		lock_destroy(&table->shards[at].lock);
		alloc_free(order_load_relaxed(&table->arrays[at])); /* relaxed: as above */
	}
no_memory:
	alloc_free(table->shards);
	alloc_free(table->arrays);
	*table = (struct idtable){ 0 };
	return -ENOMEM;
}

void idtable_destroy(struct idtable *table)
{
	unsigned at;

	if (!table->shards)
		return;
	for (at = 0; at < IDTABLE_SHARDS; at++) {
		lock_destroy(&table->shards[at].lock);
		alloc_free(
			order_load_relaxed(&table->arrays[at])); /* relaxed: nobody else is left */
	}
	alloc_free(table->shards);
	alloc_free(table->arrays);
	*table = (struct idtable){ 0 };
}

/* The caller holds the shard's lock. */
static void array_put_locked(struct idtable_array *array, uint64_t entry)
{
	uint32_t at = (uint32_t)(entry >> 32) & array->mask;

	/* Relaxed: only the holder of the shard's lock fills entries. Ends: half of them are empty. */
	while (order_load_relaxed(&array->entries[at]))
		at = (at + 1) & array->mask;
	if (plant_armed("idtable.entry-relaxed")) {
		order_store_relaxed(&array->entries[at], entry);
		return;
	}
	/* IDTABLE.entry: what was written of the key and its id comes before the entry. */
	order_store_release(&array->entries[at], entry);
}

/* Twice the entries. The caller holds the shard's lock. */
static struct idtable_array *array_grow_locked(order_ptr *home, struct idtable_array *old)
{
	struct idtable_array *larger = array_create((old->mask + 1) * 2);
	uint32_t at;

	if (!larger)
		return NULL;
	for (at = 0; at <= old->mask; at++) {
		/* Relaxed: this thread or one that held the lock before it wrote them. */
		uint64_t entry = order_load_relaxed(&old->entries[at]);

		if (entry)
			array_put_locked(larger, entry);
	}
	/* IDTABLE.array: the copied entries come before the array's address. */
	rcu_pointer_publish(home, larger);
	rcu_defer(&old->deferred, array_free);
	return larger;
}

static int insert_locked(struct idtable *table, uint64_t hash, idtable_equal_fn *equal,
			 idtable_make_fn *make, void *context, const void *key, uint32_t *id,
			 bool *made)
{
	struct idtable_shard *shard = &table->shards[idtable_shard_of(hash)];
	order_ptr *home = &table->arrays[idtable_shard_of(hash)];
	/* Relaxed: arrays change under this lock only, and it shows what was written under it. */
	struct idtable_array *array = order_load_relaxed(home);
	uint32_t count = order_load_relaxed(&shard->count);
	int ret;

	*made = false;
	if (!plant_armed("idtable.no-second-look")) {
		*id = idtable_probe(array, hash, equal, context, key);
		if (*id)
			return 0;
	}
	if ((count + 1) * 2 > array->mask + 1) {
		array = array_grow_locked(home, array);
		if (!array)
			return -ENOMEM;
		window_pass("idtable.grown");
	}
	ret = make(context, key, id);
	if (ret)
		return ret;
	array_put_locked(array, (hash >> 32 << 32) | *id);
	/* Relaxed: written under the lock; idtable_count is exact at rest only. */
	order_store_relaxed(&shard->count, count + 1);
	*made = true;
	return 0;
}

int idtable_insert(struct idtable *table, uint64_t hash, idtable_equal_fn *equal,
		   idtable_make_fn *make, void *context, const void *key, uint32_t *id, bool *made)
{
	struct idtable_shard *shard = &table->shards[idtable_shard_of(hash)];
	int ret;

	window_pass("idtable.missed");
	lock_acquire(&shard->lock);
	ret = insert_locked(table, hash, equal, make, context, key, id, made);
	lock_release(&shard->lock);
	return ret;
}

size_t idtable_count(const struct idtable *table)
{
	size_t sum = 0;
	unsigned at;

	for (at = 0; at < IDTABLE_SHARDS; at++)
		sum += order_load_relaxed(&table->shards[at].count); /* relaxed: see the header */
	return sum;
}
