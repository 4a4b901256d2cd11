/* SPDX-License-Identifier: MIT */
#include "core/forest/forest.h"

#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/forest/drop.h"
#include "core/forest/root.h"
#include "core/forest/subvolume.h"
#include "core/forest/trans.h"

#define FOREST_NODE_BYTES 16384U
#define FOREST_CAPACITY (UINT64_C(1) << 40)
#define FOREST_CAPACITY_MAX (UINT64_C(1) << 51)
/* Transactions end before so much is pending (TRANS_DELTAS_MAX): nobody ever waits for room. */
#define FOREST_DELTAS_MAX (UINT64_C(1) << 40)

static int forest_check(uint32_t node_bytes, uint64_t capacity, struct rs_error *error)
{
	if (node_bytes < SPACE_UNIT || node_bytes > FORMAT_NODE_BYTES_MAX ||
	    (node_bytes & (node_bytes - 1)))
		return error_set(error, -EINVAL,
				 "tree blocks of %u bytes: not a power of two from 4096 to 65536",
				 node_bytes);
	if (capacity > FOREST_CAPACITY_MAX)
		return error_set(error, -EINVAL, "a capacity over 2 PiB");
	return 0;
}

static int forest_parts_make(struct rs_forest *forest, const struct rs_forest_options *options,
			     uint64_t capacity)
{
	const struct rs_record_options record = {
		.path = options->record,
		.queue = options->queue,
		.hard_deltas = FOREST_DELTAS_MAX,
		.hard_bytes = UINT64_MAX,
	};
	int result = space_init(&forest->space, forest->node_bytes, capacity);

	if (!result)
		result = buffer_map_init(&forest->buffers, forest->node_bytes);
	if (!result)
		result = extent_index_create(&forest->extents);
	if (!result)
		result = root_table_init(forest);
	return result ? result : rs_record_create(&record, &forest->record, NULL);
}

int forest_make(const struct rs_forest_options *options, uint32_t node_bytes, const uint8_t *fsid,
		struct rs_forest **out, struct rs_error *error)
{
	static const struct rs_forest_options none;
	struct rs_forest *forest;
	uint64_t capacity;
	int result;

	options = options ? options : &none;
	capacity = options->capacity ? options->capacity : FOREST_CAPACITY;
	result = forest_check(node_bytes, capacity, error);
	if (result)
		return result;
	rcu_thread_adopt();
	forest = alloc_aligned(ORDER_LINE, 1, sizeof(*forest));
	if (!forest)
		return error_no_memory(error, "a forest");
	forest->node_bytes = node_bytes;
	forest->observer = options->observer;
	forest->no_drop_thread = options->no_drop_thread;
	forest->root_deltas = forest_observer_wants_roots(forest);
	memcpy(forest->fsid, fsid, sizeof(forest->fsid));
	/* Relaxed: before anybody uses it. */
	order_store_relaxed(&forest->generation, 1);
	lock_init(&forest->commit_lock, LOCK_RANK_FOREST_COMMIT, "forest.commit");
	lock_init(&forest->table_lock, LOCK_RANK_FOREST_TABLE, "forest.table");
	lock_init(&forest->dirty_lock, LOCK_RANK_FOREST_DIRTY, "forest.dirty");
	result = forest_parts_make(forest, options, capacity);
	if (result) {
		rs_forest_destroy(forest);
		return error_no_memory(error, "a forest");
	}
	*out = forest;
	return 0;
}

int forest_start(struct rs_forest *forest, struct rs_error *error)
{
	if (forest->no_drop_thread || !drop_thread_start(forest))
		return 0;
	return error_set(error, -EAGAIN, "no thread to be had to take deleted trees apart");
}

/* The top level, empty, committed. */
static int forest_begin(struct rs_forest *forest)
{
	struct rs_subvol *top;
	struct rs_writer *writer;
	int result = root_add(forest, BTRFS_FS_TREE_OBJECTID, NULL, &top);

	if (!result)
		result = rs_writer_join(forest, &writer);
	if (result)
		return result;
	result = subvolume_tree_make(writer, top);
	if (!result)
		result = trans_commit(writer);
	rs_writer_leave(writer);
	return result;
}

int rs_forest_create(const struct rs_forest_options *options, struct rs_forest **out,
		     struct rs_error *error)
{
	static const uint8_t fsid[FORMAT_FSID_BYTES] = "refstorm forest";
	uint32_t node_bytes = options && options->node_bytes ? options->node_bytes :
							       FOREST_NODE_BYTES;
	struct rs_forest *forest;
	int result = forest_make(options, node_bytes, fsid, &forest, error);

	if (result)
		return result;
	result = forest_begin(forest);
	if (result)
		error_set(error, result, "an empty forest cannot be made");
	else
		result = forest_start(forest, error);
	if (result) {
		rs_forest_destroy(forest);
		return result;
	}
	*out = forest;
	return 0;
}

void rs_forest_destroy(struct rs_forest *forest)
{
	if (!forest)
		return;
	drop_thread_end(forest);
	rcu_thread_adopt();
	if (forest_accounts_held(forest))
		forest_accounts_held(forest)->hooks->destroy(forest_accounts_held(forest));
	rs_record_destroy(forest->record);
	/* What commits have freed comes back first. */
	rcu_defer_barrier();
	root_table_destroy(forest);
	extent_index_destroy(forest->extents);
	buffer_map_destroy(&forest->buffers);
	space_destroy(&forest->space);
	lock_destroy(&forest->dirty_lock);
	lock_destroy(&forest->table_lock);
	lock_destroy(&forest->commit_lock);
	alloc_free(forest->groups.links);
	alloc_free(forest);
}

int rs_writer_join(struct rs_forest *forest, struct rs_writer **out)
{
	struct rs_writer *writer = alloc_aligned(ORDER_LINE, 1, sizeof(*writer));
	unsigned kind;

	if (!writer)
		return -ENOMEM;
	writer->forest = forest;
	for (kind = 0; kind < SPACE_KINDS; kind++)
		space_window_init(&writer->windows[kind], &forest->space, (enum space_kind)kind);
	if (rs_producer_join(forest->record, &writer->producer)) {
		alloc_free(writer);
		return -ENOMEM;
	}
	*out = writer;
	return 0;
}

void rs_writer_leave(struct rs_writer *writer)
{
	unsigned kind;

	/* Relaxed, both: sums. */
	order_fetch_add_relaxed(&writer->forest->blocks_copied, writer->blocks_copied);
	order_fetch_add_relaxed(&writer->forest->deltas, writer->deltas);
	for (kind = 0; kind < SPACE_KINDS; kind++)
		space_window_drain(&writer->windows[kind]);
	buffer_pool_give_cache(&writer->forest->buffers.pool, &writer->blocks);
	rs_producer_leave(writer->producer);
	alloc_free(writer);
}

void rs_forest_statistics_read(struct rs_forest *forest, struct rs_forest_statistics *statistics)
{
	/* Relaxed, all of them: each is true of some moment. */
	*statistics = (struct rs_forest_statistics){
		.generation = order_load_relaxed(&forest->generation),
		.commits = order_load_relaxed(&forest->commits),
		.heads = order_load_relaxed(&forest->heads),
		.subvols = order_load_relaxed(&forest->live_count),
		.dropping = order_load_relaxed(&forest->dropping),
		.extents = extent_index_count(forest->extents),
		.data_bytes = space_used(&forest->space, SPACE_DATA),
		.metadata_bytes = space_used(&forest->space, SPACE_METADATA),
		.blocks_copied = order_load_relaxed(&forest->blocks_copied),
		.join_waits = order_load_relaxed(&forest->join_waits),
		.join_wait_ns_max = order_load_relaxed(&forest->join_wait_ns_max),
	};
}
