/* SPDX-License-Identifier: MIT */
/*
 * Tree blocks in memory, found by address, and their reference counts.
 *
 * The count, the flag that the block's references are full, and a lock are one word. A thread that
 * decides by the count holds the lock; others may add meanwhile, but only where the count is above
 * one already (a block with one reference is reached through one tree, whose lock its writer holds).
 *
 * Who may call: buffer_find any thread, inside an RCU section or where something keeps the block
 * there; the contents are changed by the holder of the lock of the only tree that has the block,
 * in the transaction that made it; buffer_lock not while another buffer is locked. Progress: finding
 * is wait-free; buffer_lock waits for its holder, who records references, and may merge deltas for that.
 */
#ifndef REFSTORM_FOREST_BUFFER_H
#define REFSTORM_FOREST_BUFFER_H

#include "core/base/rcu.h"
#include "core/disk/node.h"
#include "core/forest/buffer_pool.h"
#include "refstorm/export.h"

#define BUFFER_FULL (UINT64_C(1) << 63) /* its references to others are full back references */
#define BUFFER_LOCK (UINT64_C(1) << 62)
#define BUFFER_REFS (BUFFER_LOCK - 1)

struct buffer {
	order_u64 word;
	uint64_t bytenr;
	uint64_t generation; /* of the transaction that made it; as in its header */
	uint8_t *data;       /* node_bytes, as on disk */
	uint8_t level;
	RS_EXTENSION union {
		struct rcu_deferred deferred;
		struct buffer *next_free; /* of one that is not in use */
	};
	struct buffer_map *map;
};

/* From address to buffer: a radix tree of pages that only grows. */
struct buffer_map {
	order_ptr *pages;
	struct buffer_pool pool;
	uint32_t node_bytes;
};

/* 0 or -ENOMEM. `node_bytes` is a power of two. Addresses are multiples of 4096 below 2^52. */
int buffer_map_init(struct buffer_map *map, uint32_t node_bytes)
	__attribute__((warn_unused_result));
/* Frees all buffers too. Nobody uses it. */
void buffer_map_destroy(struct buffer_map *map);

/*
 * A buffer with one reference, its data undefined, that only its maker knows until buffer_publish. NULL: no
 * memory. `cache` is the caller's, or NULL.
 */
struct buffer *buffer_create(struct buffer_map *map, struct buffer_cache *cache, uint64_t bytenr,
			     uint64_t generation, uint8_t level);
/* Puts it into the map. 0, -ENOMEM, or -EEXIST if the address has one. */
int buffer_publish(struct buffer *buffer) __attribute__((warn_unused_result));
/* One that was not published. */
void buffer_discard(struct buffer *buffer);

/* NULL if there is none at `bytenr`. */
struct buffer *buffer_find(const struct buffer_map *map, uint64_t bytenr);

/* Takes it out of the map; freed when the RCU sections that are open now have ended. */
void buffer_remove(struct buffer *buffer);
/* The same at once: nobody can come to it any more. */
void buffer_free(struct buffer *buffer);

/* Calls `fn` for each, in order of address, until it returns something else than 0; returns that. At rest. */
int buffer_map_each(const struct buffer_map *map, int (*fn)(void *argument, struct buffer *buffer),
		    void *argument);

static inline uint64_t buffer_refs(uint64_t word)
{
	return word & BUFFER_REFS;
}

/* The word, with the lock held by the caller from now on. */
uint64_t buffer_lock(struct buffer *buffer);

/* Changes the count by `count`, sets or leaves the flag, and gives the lock back. The new word. */
uint64_t buffer_unlock(struct buffer *buffer, int count, bool set_full);

/* One more. By who holds a reference that stays meanwhile. */
void buffer_ref(struct buffer *buffer);

/* The word at some moment. */
uint64_t buffer_word_approx(const struct buffer *buffer);

#endif /* REFSTORM_FOREST_BUFFER_H */
