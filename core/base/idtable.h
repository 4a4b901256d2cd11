/* SPDX-License-Identifier: MIT */
/*
 * A concurrent hash table from keys to 32-bit ids that only grows. The keys are
 * kept by the caller, who can compare one with the key behind an id.
 *
 * Who may call: look-ups and insertions from any number of enrolled threads
 * (core/base/rcu.h) at the same time, look-ups inside an RCU section.
 * Progress: a look-up is wait-free and writes no shared line; an insertion takes
 * the lock of one shard of 64, writes that shard's line and one entry.
 * Guarantee: what `make` wrote before it returned the id is seen by whoever
 * finds the id. Two equal keys never get two ids.
 * Stale: a look-up that runs beside an insertion may miss it; insertion looks
 * again under the lock.
 */
#ifndef REFSTORM_BASE_IDTABLE_H
#define REFSTORM_BASE_IDTABLE_H

#include <stddef.h>

#include "core/base/order.h"
#include "core/base/rcu.h"

#define IDTABLE_SHARD_BITS 6
#define IDTABLE_SHARDS (1U << IDTABLE_SHARD_BITS)
#define IDTABLE_NONE 0 /* no id: entries hold the id, and 0 is an empty one */

struct idtable_array {
	struct rcu_deferred deferred;
	uint32_t mask;
	order_u64 entries[]; /* id in the low half, the upper half of the hash above it */
};

struct idtable_shard;

struct idtable {
	struct idtable_shard *shards;
	order_ptr *arrays; /* per shard, on lines that only growth writes */
};

/* Whether the key behind `id` is `key`. */
typedef bool idtable_equal_fn(const void *context, uint32_t id, const void *key);
/* Gives a new key its id, which is not IDTABLE_NONE. 0 or a negative errno. */
typedef int idtable_make_fn(void *context, const void *key, uint32_t *id);

/* 0 or -ENOMEM. */
int idtable_init(struct idtable *table) __attribute__((warn_unused_result));

/* Nobody may be using it, nor be inside an RCU section. */
void idtable_destroy(struct idtable *table);

/* Only the upper half of a hash is used: it is kept as the tag, and gives the place again when a shard grows. */
static inline unsigned idtable_shard_of(uint64_t hash)
{
	return (unsigned)(hash >> (64 - IDTABLE_SHARD_BITS));
}

static inline uint32_t idtable_probe(const struct idtable_array *array, uint64_t hash,
				     idtable_equal_fn *equal, const void *context, const void *key)
{
	uint32_t at = (uint32_t)(hash >> 32) & array->mask;

	/* Ends: at most half of the entries are in use. */
	for (;; at = (at + 1) & array->mask) {
		/* IDTABLE.entry: what the maker of the id wrote is seen with it. */
		uint64_t entry = order_load_acquire(&array->entries[at]);

		if (!entry)
			return IDTABLE_NONE;
		if (entry >> 32 == hash >> 32 && equal(context, (uint32_t)entry, key))
			return (uint32_t)entry;
	}
}

/* The id of `key`, or IDTABLE_NONE. Inside an RCU section. */
static inline uint32_t idtable_find(const struct idtable *table, uint64_t hash,
				    idtable_equal_fn *equal, const void *context, const void *key)
{
	/* IDTABLE.array: the entries that were copied into it are seen with it. */
	const struct idtable_array *array = (const struct idtable_array *)rcu_pointer_observe(
		&table->arrays[idtable_shard_of(hash)]);

	return idtable_probe(array, hash, equal, context, key);
}

/*
 * The id of `key`, made by `make` if there is none; `*made` says which. 0, what
 * `make` returned, or -ENOMEM; on failure the table is as it was. May be called
 * inside an RCU section.
 */
int idtable_insert(struct idtable *table, uint64_t hash, idtable_equal_fn *equal,
		   idtable_make_fn *make, void *context, const void *key, uint32_t *id, bool *made)
	__attribute__((warn_unused_result));

/* Ids in the table; exact when nobody inserts. */
size_t idtable_count(const struct idtable *table);

/* A good hash of one 64-bit number: all bits of the result depend on all of `key`. */
static inline uint64_t idtable_hash_u64(uint64_t key)
{
	key ^= key >> 32;
	key *= 0x9e3779b97f4a7c15ULL;
	key ^= key >> 29;
	key *= 0xbf58476d1ce4e5b9ULL;
	key ^= key >> 32;
	return key;
}

#endif /* REFSTORM_BASE_IDTABLE_H */
