/* SPDX-License-Identifier: MIT */
/*
 * The rules are btrfs's. A block that the tree alone has goes with all below. One that others have
 * too loses the tree's reference; but if it was made for this tree, its references are keyed by it, as
 * are those of the blocks below that were: all of them become full first.
 *
 * What is decided by a block's reference count is decided under the block's lock: writers of
 * other trees copy the same blocks meanwhile.
 */
#include "core/forest/drop.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/plant.h"
#include "core/base/probe.h"
#include "core/forest/cow.h"
#include "core/forest/futex.h"
#include "core/forest/refs.h"
#include "core/forest/root.h"
#include "core/forest/trans.h"

/* Of a caller who waits for the end. */
#define DROP_STEP 128U
/*
 * Of the thread in the background. A step holds up commits, so that it is short; and its deltas are work
 * for commits, for which writers stop, so that it rests sixteen times as long as it works; waiting, for a
 * commit or for a CPU, is rest enough for others.
 */
#define DROP_STEP_BEHIND 16U
#define DROP_RESTS 16U
#define DROP_REST_NS_MAX UINT64_C(20000000)

/* What has become of the thread. */
enum {
	DROP_BEGAN = 1,
	DROP_FAILED, /* no memory */
};

/* One step. */
struct drop {
	struct rs_writer *writer;
	struct rs_subvol *root;
	struct buffer
		*nodes[FORMAT_LEVELS]; /* that the tree alone has; from the root down to `level` */
	uint32_t slots[FORMAT_LEVELS]; /* what comes next */
	unsigned level;
	unsigned budget;
};

static struct buffer *drop_child(const struct drop *drop, const struct buffer *node, uint32_t slot)
{
	struct buffer *child = buffer_find(&drop->writer->forest->buffers,
					   format_le64(&node_pointer(node->data, slot)->blockptr));

	assert(child);
	return child;
}

static bool drop_is_own(const struct drop *drop, const struct buffer *buffer)
{
	return format_le64(&node_header(buffer->data)->owner) == drop->root->id;
}

static bool drop_is_full(const struct buffer *buffer)
{
	/* Nobody else changes the flag of a block that this tree alone has, or was made for. */
	return (buffer_word_approx(buffer) & BUFFER_FULL) != 0;
}

static void drop_spend(struct drop *drop)
{
	drop->budget -= drop->budget != 0;
}

/* The slot that `key` lies in: the last one whose key is not above. */
static uint32_t drop_slot(const struct buffer *node, const struct format_key *key)
{
	uint32_t slot = node_lower_bound(node->data, key);
	struct format_key found;

	if (slot < node_count(node->data)) {
		found = node_key(node->data, slot);
		if (!format_key_compare(&found, key))
			return slot;
	}
	return slot ? slot - 1 : 0;
}

/* The reference of `parent`, or (NULL) of the root, to the buffer. */
static int drop_reference(struct drop *drop, const struct buffer *buffer,
			  const struct buffer *parent)
{
	const struct buffer *referrer = parent ? parent : buffer;
	bool full = drop_is_full(referrer);
	const struct rs_ref_action action = {
		.kind = RS_REF_DROP,
		.metadata = true,
		.bytenr = buffer->bytenr,
		.bytes = drop->writer->forest->node_bytes,
		.parent = full ? referrer->bytenr : 0,
		.root = full ? 0 : drop->root->id,
		.owner = buffer->level,
		.real_root = drop->root->id,
	};
	int result = refs_change(drop->writer, &action);

	drop_spend(drop);
	if (!result && plant_armed("drop.twice"))
		result = refs_change(drop->writer, &action);
	return result;
}

/* Its references become full, if they are not. Under its lock, which is given back. */
static int drop_convert(struct drop *drop, struct buffer *buffer, uint64_t word)
{
	bool full = (word & BUFFER_FULL) != 0;
	int result = 0;

	if (!full) {
		result = cow_children(drop->writer, buffer, drop->root->id, true, 1);
		if (!result)
			result = cow_children(drop->writer, buffer, drop->root->id, false, -1);
		drop_spend(drop);
	}
	buffer_unlock(buffer, 0, !full);
	return result;
}

/*
 * Those of all blocks below that were made for this tree, by ascending key, on from where an earlier
 * step had to stop. 1: this one had to stop; 0: all are full.
 */
static int drop_convert_below(struct drop *drop, struct buffer *top)
{
	struct buffer *nodes[FORMAT_LEVELS];
	uint32_t slots[FORMAT_LEVELS];
	unsigned level = top->level;
	struct buffer *child;
	int result;

	nodes[level] = top;
	slots[level] = drop_slot(top, &drop->root->convert);
	while (level <= top->level) {
		if (slots[level] == node_count(nodes[level]->data)) {
			level++;
			if (level <= top->level)
				slots[level]++;
			continue;
		}
		child = drop_child(drop, nodes[level], slots[level]);
		if (!drop_is_own(drop, child)) {
			slots[level]++;
			continue;
		}
		if (!drop->budget) {
			drop->root->convert = node_key(nodes[level]->data, slots[level]);
			return 1;
		}
		result = drop_convert(drop, child, buffer_lock(child));
		if (result)
			return result;
		if (level == 1) {
			slots[level]++;
			continue;
		}
		nodes[--level] = child;
		slots[level] = drop_slot(child, &drop->root->convert);
	}
	memset(&drop->root->convert, 0, sizeof(drop->root->convert));
	return 0;
}

enum drop_outcome {
	DROP_PASSED,  /* the tree does not have the block any more */
	DROP_ENTER,   /* the tree alone has it */
	DROP_STOPPED, /* in the middle of it */
};

/* The block that the lowest node's slot points to. An outcome or a negative errno. */
static int drop_pass(struct drop *drop, struct buffer *child)
{
	struct buffer *parent = drop->nodes[drop->level];
	uint64_t word = buffer_lock(child);
	int result;

	if (buffer_refs(word) > 1 && drop_is_own(drop, child)) {
		result = drop_convert(drop, child, word);
		if (!result && child->level)
			result = drop_convert_below(drop, child);
		if (result)
			return result < 0 ? result : DROP_STOPPED;
		word = buffer_lock(child);
	}
	if (buffer_refs(word) == 1) {
		buffer_unlock(child, 0, false);
		return DROP_ENTER;
	}
	window_pass("drop.passing");
	buffer_unlock(child, -1, false);
	result = drop_reference(drop, child, parent);
	return result ? result : DROP_PASSED;
}

/* The lowest node, with nothing left below. 1: it was the root. */
static int drop_leave(struct drop *drop)
{
	struct buffer *node = drop->nodes[drop->level];
	bool is_root = node == drop->root->node;
	int result = 0;

	if (!node->level)
		result = cow_children(drop->writer, node, drop->root->id, drop_is_full(node), -1);
	if (!result)
		result = drop_reference(drop, node, is_root ? NULL : drop->nodes[drop->level + 1]);
	if (result)
		return result;
	buffer_lock(node);
	buffer_unlock(node, -1, false);
	drop->level++;
	if (!is_root)
		drop->slots[drop->level]++;
	return is_root;
}

/* Where the last step stopped. */
static void drop_resume(struct drop *drop)
{
	const struct rs_subvol *root = drop->root;
	const struct format_key none = { 0 };
	bool begun = format_key_compare(&root->drop_progress, &none) != 0;
	unsigned level = root->node->level;

	drop->nodes[level] = root->node;
	drop->slots[level] = begun ? drop_slot(root->node, &root->drop_progress) : 0;
	while (begun && level > root->drop_level) {
		struct buffer *child = drop_child(drop, drop->nodes[level], drop->slots[level]);

		drop->nodes[--level] = child;
		drop->slots[level] = drop_slot(child, &root->drop_progress);
	}
	drop->level = level;
}

static void drop_stop(const struct drop *drop)
{
	const struct buffer *node = drop->nodes[drop->level];
	uint32_t slot = drop->slots[drop->level];

	if (plant_armed("drop.progress-off") && slot + 1 < node_count(node->data))
		slot++;
	drop->root->drop_level = (uint8_t)drop->level;
	drop->root->drop_progress = node_key(node->data, slot);
}

/* 1: there is more; 0: nothing is left of the tree. */
static int drop_some(struct drop *drop)
{
	drop_resume(drop);
	/* Ends: each turn passes a pointer, enters a block or leaves one for good. */
	for (;;) {
		struct buffer *node = drop->nodes[drop->level];
		int result;

		if (!node->level || drop->slots[drop->level] == node_count(node->data)) {
			result = drop_leave(drop);
			if (result)
				return result < 0 ? result : 0;
			continue;
		}
		if (!drop->budget) {
			drop_stop(drop);
			return 1;
		}
		result = drop_pass(drop, drop_child(drop, node, drop->slots[drop->level]));
		if (result < 0)
			return result;
		if (result == DROP_STOPPED) {
			drop_stop(drop);
			return 1;
		}
		if (result == DROP_PASSED) {
			drop->slots[drop->level]++;
			continue;
		}
		drop->nodes[drop->level - 1] = drop_child(drop, node, drop->slots[drop->level]);
		drop->slots[--drop->level] = 0;
	}
}

/* A tree that is to be taken apart. NULL: there is none. */
static struct rs_subvol *drop_first(struct rs_forest *forest)
{
	struct rs_subvol *root;

	lock_acquire(&forest->dirty_lock);
	root = forest->drops;
	lock_release(&forest->dirty_lock);
	return root;
}

static void drop_finished(struct rs_subvol *root)
{
	struct rs_forest *forest = root->forest;
	struct rs_subvol **at;

	/* Relaxed: by the lock of the root, or by a commit, which waits for us. */
	order_store_relaxed(&root->state, ROOT_GONE);
	root->node = NULL;
	lock_acquire(&forest->dirty_lock);
	for (at = &forest->drops; *at != root; at = &(*at)->drop_next)
		;
	*at = root->drop_next;
	lock_release(&forest->dirty_lock);
	/* Relaxed: a sum. */
	order_fetch_sub_relaxed(&forest->dropping, 1);
}

int rs_forest_drop_step(struct rs_writer *writer, unsigned blocks)
{
	struct rs_subvol *root = drop_first(writer->forest);
	struct drop drop = { .writer = writer, .root = root, .budget = blocks ? blocks : 1 };
	int result;

	if (!root)
		return 0;
	result = trans_join(writer, 0);
	if (result)
		return result;
	lock_acquire(&root->lock);
	/* Relaxed: as above. Another thread may have come before us. */
	if (order_load_relaxed(&root->state) == ROOT_DELETED) {
		trans_dirty(root);
		result = drop_some(&drop);
		if (!result)
			drop_finished(root);
	}
	PROBE2(drop_step, root->id, result);
	lock_release(&root->lock);
	trans_end(writer);
	return result < 0 ? result : drop_first(writer->forest) != NULL;
}

int rs_forest_drop_wait(struct rs_writer *writer)
{
	int result;

	do
		result = rs_forest_drop_step(writer, DROP_STEP);
	while (result > 0);
	return result ? result : rs_forest_commit(writer);
}

/* A step, and a rest. False: nothing is left, or it cannot go on. */
static bool drop_behind(struct rs_writer *writer)
{
	uint64_t begin = clock_thread_cpu_ns();
	int result = rs_forest_drop_step(writer, DROP_STEP_BEHIND);
	uint64_t rest = (clock_thread_cpu_ns() - begin) * DROP_RESTS;
	struct timespec pause = { .tv_nsec = (long)(rest < DROP_REST_NS_MAX ? rest :
									      DROP_REST_NS_MAX) };

	if (result > 0)
		nanosleep(&pause, NULL);
	return result > 0;
}

static void *drop_thread(void *argument)
{
	struct rs_forest *forest = argument;
	struct rs_writer *writer;
	uint32_t began = rs_writer_join(forest, &writer) ? DROP_FAILED : DROP_BEGAN;

	/* DROP.began: nothing. */
	order_store_release(&forest->drop_began, began);
	futex_wake_all(&forest->drop_began);
	if (began == DROP_FAILED)
		return NULL;
	/* DROP.end: nothing; the thread is joined behind it. */
	while (!order_load_acquire(&forest->drop_end)) {
		/* DROP.wanted: what was wanted before is seen in the list. */
		uint32_t wanted = order_load_acquire(&forest->drop_wanted);

		if (!drop_behind(writer) && !order_load_acquire(&forest->drop_end))
			futex_wait(&forest->drop_wanted, wanted);
	}
	rs_writer_leave(writer);
	return NULL;
}

int drop_thread_start(struct rs_forest *forest)
{
	if (pthread_create(&forest->drop_thread, NULL, drop_thread, forest))
		return -EAGAIN;
	/* DROP.began: nothing. */
	while (!order_load_acquire(&forest->drop_began))
		futex_wait(&forest->drop_began, 0);
	/* Relaxed: it is there. */
	forest->drop_thread_runs = order_load_relaxed(&forest->drop_began) == DROP_BEGAN;
	if (!forest->drop_thread_runs)
		pthread_join(forest->drop_thread, NULL);
	return forest->drop_thread_runs ? 0 : -EAGAIN;
}

void drop_thread_end(struct rs_forest *forest)
{
	if (!forest->drop_thread_runs)
		return;
	/* DROP.end: nothing. */
	order_store_release(&forest->drop_end, 1);
	/* DROP.wanted: that it is to end. */
	order_fetch_add_release(&forest->drop_wanted, 1);
	futex_wake_all(&forest->drop_wanted);
	pthread_join(forest->drop_thread, NULL);
	forest->drop_thread_runs = false;
}
