// SPDX-License-Identifier: MIT
#include "core/qgroup/account.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/qgroup/account_impl.h"

#define BOUNDARIES_INLINE 64U
#define SETTLE_GRAIN 1024U
#define GRAINS_EACH 32U
#define GRAIN_MAX 512U

/* A block, and where in the lineage the first root that reaches it stands. */
struct block_place {
	struct tree_block *block;
	uint32_t position;
};

/* The blocks of one level in the order in which they are read. */
struct level_job {
	struct account *account;
	struct block_place *blocks;
	uint8_t level;
};

struct settle_job {
	struct account *account;
	struct pool_range range;
	order_u32 result; /* -errno of a worker that failed */
};

static int init_chains(struct account *account)
{
	uint32_t items = account->image->rules.node_bytes / (uint32_t)sizeof(struct format_item);
	unsigned at;
	int ret = 0;

	for (at = 0; !ret && at < account->workers; at++)
		ret = chain_init(&account->chains[at], items);
	return ret;
}

static void destroy_chains(struct account *account)
{
	unsigned at;

	for (at = 0; account->chains && at < account->workers; at++)
		chain_destroy(&account->chains[at]);
	alloc_free(account->chains);
}

int account_init(struct account *account, struct rs_image *image, struct reader *reader,
		 const struct subvol_list *subvols, struct rs_error *error)
{
	*account = (struct account){ .image = image, .reader = reader, .subvols = subvols };
	account->workers = pool_threads(reader_pool(reader));
	if (rootset_table_init(&account->sets))
		return error_no_memory(error, "the root sets");
	if (extent_table_init(&account->extents))
		goto no_extents;
	account->tallies = alloc_aligned(ORDER_LINE, account->workers, sizeof(struct ledger_tally));
	if (!account->tallies)
		goto no_tallies;
	account->chains = alloc_aligned(ORDER_LINE, account->workers, sizeof(struct chain));
	if (!account->chains || init_chains(account))
		goto no_chains;
	return 0;

no_chains:
	destroy_chains(account);
	alloc_free(account->tallies);
no_tallies:
	extent_table_destroy(&account->extents);
no_extents:
	rootset_table_destroy(&account->sets);
	return error_no_memory(error, "the ledger");
}

static void level_release(struct account *account, unsigned level)
{
	if (account->level_in_use[level])
		tree_block_table_destroy(&account->levels[level]);
	account->level_in_use[level] = false;
}

void account_destroy(struct account *account)
{
	unsigned at;

	for (at = 0; at < FORMAT_LEVELS; at++)
		level_release(account, at);
	for (at = 0; at < account->workers; at++)
		alloc_free(account->tallies[at].entries);
	alloc_free(account->tallies);
	destroy_chains(account);
	alloc_free(account->path_blocks);
	extent_table_destroy(&account->extents);
	rootset_table_destroy(&account->sets);
}

struct tree_block_table *account_level(struct account *account, uint8_t level)
{
	if (!account->level_in_use[level]) {
		if (tree_block_table_init(&account->levels[level]))
			return NULL;
		account->level_in_use[level] = true;
	}
	return &account->levels[level];
}

int account_find_child(struct account *account, const uint8_t *parent, uint32_t slot,
		       struct tree_block **child, struct rs_error *error)
{
	struct node_expect expect = node_child(parent, slot, NODE_OWNER_SUBVOLUME);

	return tree_block_table_get(&account->levels[expect.level], &expect, child, error);
}

int account_tally(struct account *account, unsigned worker, const struct run *runs, size_t count,
		  uint64_t data, uint64_t metadata)
{
	const uint32_t *elements = account->subvols->elements;
	uint32_t few[BOUNDARIES_INLINE];
	uint32_t *boundaries = few;
	uint32_t set;
	size_t at;
	int ret;

	if (!count) /* nobody's: it stays out of every number */
		return ledger_add(&account->tallies[worker], ROOTSET_EMPTY, data, metadata);
	if (count > BOUNDARIES_INLINE / 2) {
		boundaries = alloc_array(count * 2, sizeof(*boundaries));
		if (!boundaries)
			return -ENOMEM;
	}
	for (at = 0; at < count; at++) {
		boundaries[at * 2] = elements[runs[at].begin];
		boundaries[at * 2 + 1] = elements[runs[at].end];
	}
	ret = rootset_intern(&account->sets, boundaries, (uint32_t)count * 2, &set);
	if (boundaries != few)
		alloc_free(boundaries);
	return ret ? ret : ledger_add(&account->tallies[worker], set, data, metadata);
}

/* The set of the block itself, which may have more roots than what lies below it. */
static int tally_block(struct account *account, unsigned worker, const struct level_job *job,
		       uint64_t bytenr, const struct run *list, size_t count)
{
	uint32_t node_bytes = account->image->rules.node_bytes;
	struct runs more = { 0 };
	struct run single;
	size_t at;
	int ret = 0;

	if (!account->path_block_count)
		return account_tally(account, worker, list, count, 0, node_bytes);
	for (at = 0; !ret && at < count; at++)
		ret = runs_add(&more, list[at]);
	if (!ret)
		ret = account_add_path_runs(account, bytenr, job->level, &more);
	if (!ret) {
		count = runs_read(&more, &single, &list);
		ret = account_tally(account, worker, list, count, 0, node_bytes);
	}
	runs_clear(&more);
	return ret;
}

static int reach_children(struct account *account, struct chain *chain, const uint8_t *block,
			  struct rs_error *error)
{
	uint32_t slot;
	int ret = 0;

	for (slot = 0; slot < node_count(block); slot++) {
		const struct format_key_ptr *pointer = node_pointer(block, slot);
		struct chain_item item = {
			.key = format_key_read(&pointer->key),
			.bytenr = format_le64(&pointer->blockptr),
			.check = format_le64(&pointer->generation),
		};
		struct tree_block *child;

		if (!chain_take(chain, &item, &ret) && !ret) {
			ret = account_find_child(account, block, slot, &child, error);
			if (ret)
				return ret;
			ret = chain_add(chain, &item, &child->runs);
		}
		if (ret)
			return error_no_memory(error, "the root sets");
	}
	return 0;
}

/* What lies right below a block that the runs reach. */
static int reach_below(struct account *account, unsigned worker, const uint8_t *block,
		       const struct run *runs, size_t count, struct rs_error *error)
{
	struct chain *chain = &account->chains[worker];
	int ret;

	chain_begin(chain, runs, count);
	rcu_section_enter();
	if (node_level(block))
		ret = reach_children(account, chain, block, error);
	else
		ret = account_reach_extents(account, chain, block, error);
	rcu_section_exit();
	if (!ret && chain_end(chain))
		ret = error_no_memory(error, "the root sets");
	return ret;
}

static int on_finish(void *argument, unsigned worker, struct rs_error *error)
{
	const struct level_job *job = argument;

	if (chain_finish(&job->account->chains[worker]))
		return error_no_memory(error, "the root sets");
	return 0;
}

static int on_block(void *argument, unsigned worker, uint64_t index, const uint8_t *block,
		    struct rs_error *error)
{
	const struct level_job *job = argument;
	struct account *account = job->account;
	const struct tree_block *about = job->blocks[index].block;
	struct run single;
	const struct run *list;
	size_t count = runs_read(&about->runs, &single, &list);
	int ret;

	ret = tally_block(account, worker, job, about->bytenr, list, count);
	if (ret)
		return error_no_memory(error, "the root sets");
	if (account->on_block) {
		ret = account->on_block(account->on_block_argument, worker, block, error);
		if (ret)
			return ret;
	}
	return reach_below(account, worker, block, list, count, error);
}

static struct node_expect expect_block(void *argument, uint64_t index)
{
	const struct level_job *job = argument;
	const struct tree_block *block = job->blocks[index].block;
	struct node_expect expect = {
		.bytenr = block->bytenr,
		.generation = block->generation,
		.owner = NODE_OWNER_SUBVOLUME,
		.first_key = block->first_key,
		.level = job->level,
		.is_root = block->is_root,
	};

	return expect;
}

static int compare_addresses(const void *a, const void *b)
{
	uint64_t left = ((const struct block_place *)a)->block->bytenr;
	uint64_t right = ((const struct block_place *)b)->block->bytenr;

	return left < right ? -1 : left > right;
}

/* The versions of one block follow each other, in the order of the lineage. */
static int compare_places(const void *a, const void *b)
{
	const struct block_place *left = a;
	const struct block_place *right = b;
	int order = format_key_compare(&left->block->first_key, &right->block->first_key);

	if (order)
		return order;
	return left->position < right->position ? -1 : left->position > right->position;
}

static int list_blocks(struct level_job *job, uint32_t count)
{
	const struct tree_block_table *table = &job->account->levels[job->level];
	uint32_t at;

	job->blocks = alloc_array(count + 1U, sizeof(*job->blocks));
	if (!job->blocks)
		return -ENOMEM;
	for (at = 0; at < count; at++) {
		struct tree_block *block = tree_block_table_at(table, at + 1);
		struct run single = { 0, 0 };
		const struct run *list;

		runs_read(&block->runs, &single, &list);
		job->blocks[at] = (struct block_place){ block, list->begin };
	}
	return 0;
}

/* Neighbours mostly go to one worker, and the last ones are few for each. */
static uint64_t level_grain(const struct account *account, uint32_t count)
{
	uint64_t grain = count / (account->workers * GRAINS_EACH);

	return grain < 1 ? 1 : grain > GRAIN_MAX ? GRAIN_MAX : grain;
}

static int read_level(struct account *account, uint8_t level, const struct pool_watch *watch,
		      struct rs_error *error)
{
	struct level_job job = { .account = account, .level = level };
	struct reader_pass pass = {
		.argument = &job,
		.expect = expect_block,
		.block = on_block,
		.finish = on_finish,
	};
	uint32_t count;
	int ret;

	if (!account->level_in_use[level])
		return 0;
	count = tree_block_table_limit(&account->levels[level]) - 1;
	if (list_blocks(&job, count) || (level && !account_level(account, (uint8_t)(level - 1)))) {
		alloc_free(job.blocks);
		return error_no_memory(error, "the tree blocks");
	}
	account->tree_blocks += count;
	/* Relaxed: for the progress bar alone. */
	order_store_relaxed(&account->blocks_known, account->tree_blocks);
	pass.count = count;
	pass.grain = level_grain(account, count);
	qsort(job.blocks, count, sizeof(*job.blocks),
	      reader_wants_address_order(account->reader, &pass) ? compare_addresses :
								   compare_places);
	ret = reader_pass(account->reader, &pass, watch, error);
	alloc_free(job.blocks);
	return ret;
}

/* The roots that subvolumes begin with. */
static int reach_root(struct account *account, const struct subvol *subvol, struct rs_error *error)
{
	struct node_expect expect = tree_root_expect(&subvol->root);
	struct run run = { subvol->position, subvol->position + 1 };
	struct tree_block_table *table = account_level(account, expect.level);
	struct tree_block *block;
	int ret;

	if (!table)
		return error_no_memory(error, "the tree blocks");
	rcu_section_enter();
	ret = tree_block_table_get(table, &expect, &block, error);
	if (!ret && runs_add(&block->runs, run))
		ret = error_no_memory(error, "the root sets");
	rcu_section_exit();
	return ret;
}

static int reach_roots(struct account *account, struct rs_error *error)
{
	size_t at;
	int ret = 0;

	rcu_thread_enroll();
	for (at = 0; !ret && at < account->subvols->count; at++) {
		const struct subvol *subvol = &account->subvols->subvols[at];

		if (account->skip_deleted && subvol->deleted)
			continue;
		ret = subvol->dropping ? account_reach_dropping(account, subvol, error) :
					 reach_root(account, subvol, error);
		if (ret)
			error_add_place(error, "tree %" PRIu64, subvol->root.id);
	}
	rcu_thread_leave();
	return ret;
}

int account_read_trees(struct account *account, const struct pool_watch *watch,
		       struct rs_error *error)
{
	uint8_t level = FORMAT_LEVELS;
	int ret = reach_roots(account, error);

	while (!ret && level--) {
		ret = read_level(account, level, watch, error);
		if (ret)
			error_add_place(error, "subvolume trees, level %u", level);
		level_release(account, level);
	}
	return ret;
}

static int settle_extent(struct account *account, unsigned worker, uint32_t number)
{
	const struct extent *extent = extent_table_at(&account->extents, number);
	struct run single;
	const struct run *list;
	size_t count = runs_read(&extent->runs, &single, &list);

	return account_tally(account, worker, list, count, extent->bytes, 0);
}

static void settle_worker(void *argument, unsigned worker)
{
	struct settle_job *job = argument;
	uint64_t first;
	uint64_t count;

	while (pool_range_take(&job->range, &first, &count)) {
		for (; count--; first++) {
			int ret = settle_extent(job->account, worker, (uint32_t)first + 1);

			if (!ret)
				continue;
			/* Relaxed: read after pool_run has returned. */
			order_store_relaxed(&job->result, (uint32_t)-ret);
			return;
		}
	}
}

int account_settle(struct account *account, struct rs_error *error)
{
	struct settle_job job = { .account = account };
	uint32_t extents = extent_table_limit(&account->extents) - 1;
	int ret;

	rcu_thread_enroll();
	ret = account_tally_paths(account);
	rcu_thread_leave();
	if (ret)
		return error_no_memory(error, "the root sets");
	pool_range_init(&job.range, extents, SETTLE_GRAIN);
	pool_run(reader_pool(account->reader), settle_worker, &job, NULL);
	/* Relaxed: pool_run has returned. */
	if (order_load_relaxed(&job.result) ||
	    ledger_sum(account->tallies, account->workers, rootset_limit(&account->sets)))
		return error_no_memory(error, "the ledger");
	return 0;
}
