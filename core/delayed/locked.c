/* SPDX-License-Identifier: MIT */
/*
 * The record path of 2009: one red-black tree of pending deltas under one lock. A delta folds into
 * the node of its key and number, or becomes a node.
 *
 * recorded = merged + run + pending always holds of the numbers that the lock protects: a delta
 * that folds counts as merged, one that nets a node to nothing counts the node too, and so do
 * nodes of several numbers that become one entry when their head is run.
 */
#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/lock.h"
#include "core/base/plant.h"
#include "core/delayed/head.h"
#include "core/delayed/rbtree.h"
#include "core/delayed/store.h"

/* One line of 64 bytes, so that a step down the tree is at most one miss. */
struct locked_node {
	struct rs_delta delta;
	struct rbtree_node links; /* of a node that is in no tree, child[0] leads to the next */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct locked_node) == 64, "a node is one line");

/* 64 KiB with the line of the link. */
#define LOCKED_CHUNK_NODES 1023U

struct locked_chunk {
	struct locked_chunk *next;
	struct locked_node nodes[LOCKED_CHUNK_NODES];
};

/* Nodes past the cut that a run steps over before it lets others have the lock. */
#define LOCKED_SKIP_MAX 1024U

struct store {
	struct lock lock; /* protects all below */
	struct rbtree tree __attribute__((aligned(ORDER_LINE)));
	struct locked_node *free;
	/* Relaxed, and written by the holder of the lock alone: a number for the bounds. */
	order_u64 pending; /* in the tree, and in a head that is being run */
	uint64_t recorded;
	uint64_t merged;
	uint64_t run;
	uint64_t since; /* when something was pending again; of no meaning with nothing pending */
	struct locked_chunk *chunks;
	unsigned chunk_left; /* nodes of the first chunk that were never used: its last ones */
	bool running;
	uint64_t running_bytenr;
};

/* Nodes that are in no tree, in order. */
struct locked_list {
	struct locked_node *first;
	struct locked_node *last;
	uint64_t count;
};

/* Where a run has come to. */
struct locked_cursor {
	struct rs_delta from; /* none below it is up to the cut */
	uint64_t cut;
};

static inline struct locked_node *locked_node_of(struct rbtree_node *links)
{
	if (!links)
		return NULL;
	return (struct locked_node *)((char *)links - offsetof(struct locked_node, links));
}

static inline struct locked_node *locked_next(const struct locked_node *node)
{
	return (struct locked_node *)node->links.child[0];
}

/* By delta_order, then by number. */
static int locked_order(const struct rs_delta *a, const struct rs_delta *b)
{
	int order = delta_order(a, b);

	return order ? order : delta_order_u64(a->seq_type, b->seq_type);
}

static inline uint64_t locked_pending_locked(const struct store *store)
{
	return order_load_relaxed(&store->pending);
}

static inline void locked_pending_set_locked(struct store *store, uint64_t pending)
{
	order_store_relaxed(&store->pending, pending);
}

static struct locked_node *locked_chunk_add(struct store *store)
{
	struct locked_chunk *chunk = alloc_undefined(ORDER_LINE, sizeof(*chunk));

	if (!chunk)
		return NULL;
	chunk->next = store->chunks;
	store->chunks = chunk;
	store->chunk_left = LOCKED_CHUNK_NODES - 1;
	return &chunk->nodes[0];
}

static inline struct locked_node *locked_node_take(struct store *store)
{
	struct locked_node *node = store->free;

	if (node)
		store->free = locked_next(node);
	else if (store->chunk_left)
		node = &store->chunks->nodes[LOCKED_CHUNK_NODES - store->chunk_left--];
	else
		node = locked_chunk_add(store);
	return node;
}

static inline void locked_node_give(struct store *store, struct locked_node *node)
{
	node->links.child[0] = (rbtree_link)store->free;
	store->free = node;
}

/*
 * Goes down to the node of the delta's key and number and folds the delta into it: true. False,
 * and the path is at the empty link where it belongs, if there is no such node or the sum does not
 * fit, and then it will stand behind that node.
 */
static bool locked_fold(struct store *store, struct rbtree_path *path, const struct rs_delta *delta)
{
	struct locked_node *node;

	rbtree_path_begin(path, &store->tree);
	while ((node = locked_node_of(rbtree_path_node(path)))) {
		/* Most steps are decided here, and without a branch: none is foreseen. */
		unsigned side = delta->bytenr > node->delta.bytenr;

		if (__builtin_expect(delta->bytenr == node->delta.bytenr, 0)) {
			int order = locked_order(delta, &node->delta);

			if (!order && delta_fold(&node->delta, delta))
				return true;
			side = order >= 0;
		}
		rbtree_path_down(path, &node->links, side);
	}
	return false;
}

/* A node of its own for the delta. */
static int locked_add(struct store *store, struct rbtree_path *path, const struct rs_delta *delta)
{
	uint64_t pending = locked_pending_locked(store);
	struct locked_node *node = locked_node_take(store);

	if (!node)
		return -ENOMEM;
	node->delta = *delta;
	rbtree_insert(path, &node->links);
	if (!pending)
		store->since = clock_now_ns();
	locked_pending_set_locked(store, pending + 1);
	store->recorded++;
	return 0;
}

/* The delta went into the node at the path, which goes too if nothing is left. */
static void locked_folded(struct store *store, struct rbtree_path *path)
{
	struct locked_node *node = locked_node_of(rbtree_path_node(path));

	store->recorded++;
	store->merged++;
	if (!delta_is_empty(&node->delta))
		return;
	rbtree_remove(path);
	locked_node_give(store, node);
	store->merged++;
	locked_pending_set_locked(store, locked_pending_locked(store) - 1);
}

static int locked_append(struct store *store, const struct rs_delta *delta)
{
	struct rbtree_path path;
	int ret = 0;

	lock_acquire(&store->lock);
	if (locked_fold(store, &path, delta)) {
		locked_folded(store, &path);
	} else if (delta_is_empty(delta)) {
		store->recorded++;
		store->merged++;
	} else {
		ret = locked_add(store, &path, delta);
	}
	lock_release(&store->lock);
	return ret;
}

/* Goes to the first node that is not below `from`; NULL for none. */
static struct locked_node *locked_seek(struct store *store, struct rbtree_path *path,
				       const struct rs_delta *from)
{
	struct locked_node *found = NULL;
	struct locked_node *node;
	unsigned depth = 0;

	rbtree_path_begin(path, &store->tree);
	while ((node = locked_node_of(rbtree_path_node(path)))) {
		bool below = node->delta.bytenr < from->bytenr;

		if (__builtin_expect(node->delta.bytenr == from->bytenr, 0))
			below = locked_order(&node->delta, from) < 0;
		/* A branch: a run goes down along the lower edge of the tree. */
		if (!below) {
			found = node;
			depth = path->depth;
		}
		rbtree_path_down(path, &node->links, below);
	}
	path->depth = depth;
	return found;
}

static struct locked_node *locked_path_next(struct rbtree_path *path)
{
	return rbtree_path_next(path) ? locked_node_of(rbtree_path_node(path)) : NULL;
}

/*
 * The next node up to the cut, which the path is at then; of the extent `within`, if that is not
 * NULL. NULL if there is none, or, with *more set, if many others were in the way.
 */
static struct locked_node *locked_find_due(struct store *store, struct rbtree_path *path,
					   struct locked_cursor *cursor, const uint64_t *within,
					   bool *more)
{
	struct locked_node *node = locked_seek(store, path, &cursor->from);
	unsigned skipped = 0;

	while (node && rs_delta_seq(&node->delta) > cursor->cut) {
		if (within && node->delta.bytenr != *within)
			return NULL;
		/* An extent that is begun is taken as a whole. */
		if (!within && skipped++ == LOCKED_SKIP_MAX) {
			cursor->from = node->delta;
			*more = true;
			return NULL;
		}
		node = locked_path_next(path);
	}
	return node && (!within || node->delta.bytenr == *within) ? node : NULL;
}

static void locked_list_add(struct locked_list *list, struct locked_node *node)
{
	node->links.child[0] = 0;
	if (list->last)
		list->last->links.child[0] = (rbtree_link)node;
	else
		list->first = node;
	list->last = node;
	list->count++;
}

/* Takes the nodes of the next extent out of the tree; an empty list if there are none, or *more. */
static void locked_take(struct store *store, struct locked_cursor *cursor, struct locked_list *list,
			bool *more)
{
	struct rbtree_path path;
	struct locked_node *node;

	*more = false;
	*list = (struct locked_list){ NULL, NULL, 0 };
	node = locked_find_due(store, &path, cursor, NULL, more);
	while (node) {
		const struct locked_node *next = locked_node_of(rbtree_path_peek(&path));

		cursor->from = node->delta;
		rbtree_remove(&path);
		locked_list_add(list, node);
		/* Saves the way down where the extent ends. */
		if (!next || next->delta.bytenr != list->first->delta.bytenr)
			break;
		node = locked_find_due(store, &path, cursor, &list->first->delta.bytenr, more);
	}
}

/* The nodes were run, without the lock; it is held now. */
static void locked_settle(struct store *store, const struct locked_list *list, uint64_t entries)
{
	struct locked_node *node = list->first;

	while (node) {
		struct locked_node *next = locked_next(node);

		locked_node_give(store, node);
		node = next;
	}
	store->run += entries;
	store->merged += list->count - entries;
	locked_pending_set_locked(store, locked_pending_locked(store) - list->count);
}

/* No node of their keys and numbers has come meanwhile: the cut is closed. */
static void locked_put_back(struct store *store, const struct locked_list *list)
{
	struct locked_node *node = list->first;

	while (node) {
		struct locked_node *next = locked_next(node);
		struct rbtree_path path;
		struct locked_node *beside;

		rbtree_path_begin(&path, &store->tree);
		while ((beside = locked_node_of(rbtree_path_node(&path))))
			rbtree_path_down(&path, &beside->links,
					 locked_order(&node->delta, &beside->delta) >= 0);
		rbtree_insert(&path, &node->links);
		node = next;
	}
}

static int locked_run_extent(struct head_stream *stream, const struct locked_list *list)
{
	const struct locked_node *node;
	int ret;

	window_pass("locked.taken");
	for (node = list->first; node; node = locked_next(node)) {
		ret = head_stream_take(stream, &node->delta);
		if (ret)
			return ret;
	}
	return head_stream_finish(stream);
}

static int locked_run_all(struct store *store, struct locked_cursor *cursor,
			  struct head_stream *stream)
{
	struct locked_list list;
	bool more;
	int ret = 0;

	lock_acquire(&store->lock);
	for (;;) {
		uint64_t entries = stream->result->entries;

		locked_take(store, cursor, &list, &more);
		if (!list.first && !more)
			break;
		store->running = list.first != NULL;
		if (list.first)
			store->running_bytenr = list.first->delta.bytenr;
		lock_release(&store->lock);
		if (list.first)
			ret = locked_run_extent(stream, &list);
		lock_acquire(&store->lock);
		if (ret && !plant_armed("locked.error-forgotten")) {
			locked_put_back(store, &list);
			break;
		}
		locked_settle(store, &list, stream->result->entries - entries);
	}
	store->running = false;
	lock_release(&store->lock);
	return ret;
}

static int locked_run(struct store *store, const struct store_run *run)
{
	struct locked_cursor cursor = { .cut = run->cut };
	struct head_stream stream;
	int ret;

	head_stream_init(&stream, run->run, run->argument, run->transaction, run->result);
	ret = locked_run_all(store, &cursor, &stream);
	head_stream_destroy(&stream);
	if (!ret) {
		lock_acquire(&store->lock);
		/* What is left was recorded later. */
		store->since = run->since > store->since ? run->since : store->since;
		lock_release(&store->lock);
	}
	return ret;
}

static int locked_lookup(struct store *store, uint64_t bytenr, uint64_t seq_max,
			 struct rs_head_pending *pending, struct rs_delta *entries, size_t capacity)
{
	const struct rs_delta from = { .bytenr = bytenr };
	struct head_gather gather;
	struct locked_node *node;
	struct rbtree_path path;

	head_gather_init(&gather, pending, entries, capacity);
	lock_acquire(&store->lock);
	pending->running = store->running && store->running_bytenr == bytenr;
	node = locked_seek(store, &path, &from);
	while (node && node->delta.bytenr == bytenr) {
		if (rs_delta_seq(&node->delta) <= seq_max)
			head_gather_take(&gather, &node->delta);
		node = locked_path_next(&path);
	}
	lock_release(&store->lock);
	return head_gather_finish(&gather);
}

static void locked_statistics(struct store *store, struct store_statistics *statistics)
{
	uint64_t pending;

	lock_acquire(&store->lock);
	pending = locked_pending_locked(store);
	*statistics = (struct store_statistics){
		.recorded = store->recorded,
		.merged = store->merged,
		.run = store->run,
		.pending_bytes = pending * sizeof(struct locked_node),
		.oldest_time = pending ? store->since : 0,
	};
	lock_release(&store->lock);
}

static uint64_t locked_pending(const struct store *store)
{
	return order_load_relaxed(&store->pending);
}

int locked_create(struct store **out)
{
	struct store *store = alloc_aligned(ORDER_LINE, 1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	lock_init(&store->lock, LOCK_RANK_STORE, "delayed.locked");
	*out = store;
	return 0;
}

static void locked_destroy(struct store *store)
{
	while (store->chunks) {
		struct locked_chunk *next = store->chunks->next;

		alloc_free(store->chunks);
		store->chunks = next;
	}
	lock_destroy(&store->lock);
	alloc_free(store);
}

const struct store_functions locked_functions = {
	.name = "locked",
	.destroy = locked_destroy,
	.append = locked_append,
	.run = locked_run,
	.lookup = locked_lookup,
	.statistics = locked_statistics,
	.pending = locked_pending,
};
