/* SPDX-License-Identifier: MIT */
/*
 * Committing. Writers are stopped: those in an operation end it, others wait before they begin. Then
 * the snapshots that wait are made, all heads of the transaction run, the roots that it changed
 * are published, and what it freed comes back.
 *
 * What can fail before anything of it is seen does so at the beginning: then the transaction goes on.
 * Heads that cannot be run for want of memory stay, and the next commit begins with them: the trees are
 * committed all the same, and the extents trail by one transaction at the most. Not so with a snapshot
 * or a deletion, which come behind the heads: then the transaction is aborted.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"
#include "core/base/plant.h"
#include "core/base/probe.h"
#include "core/forest/commit.h"
#include "core/forest/cow.h"
#include "core/forest/futex.h"
#include "core/forest/root.h"
#include "core/forest/trans.h"

/* Extents without references, to be given back behind the commit that freed them. */
struct commit_freed {
	struct rcu_deferred deferred;
	struct rs_forest *forest;
	struct space_piece *pieces;
	size_t count;
	size_t capacity;
	struct buffer **buffers;
	size_t buffer_count;
	size_t buffer_capacity;
};

static int commit_freed_reserve(struct commit_freed *freed)
{
	void *grown = array_grow(freed->pieces, freed->count, 1, &freed->capacity,
				 sizeof(freed->pieces[0]));

	if (!grown)
		return -ENOMEM;
	freed->pieces = grown;
	grown = array_grow(freed->buffers, freed->buffer_count, 1, &freed->buffer_capacity,
			   sizeof(struct buffer *));
	if (!grown)
		return -ENOMEM;
	freed->buffers = grown;
	return 0;
}

static void commit_freed_destroy(struct commit_freed *freed)
{
	alloc_free(freed->pieces);
	alloc_free(freed->buffers);
	alloc_free(freed);
}

static bool commit_is_block(const struct rs_head *head)
{
	enum rs_delta_type type = head->ref_count ? rs_delta_type(&head->refs[0]) : RS_DELTA_ROOT;

	return type == RS_DELTA_TREE_BLOCK_REF || type == RS_DELTA_SHARED_BLOCK_REF;
}

static int commit_head(void *argument, const struct rs_head *head)
{
	struct commit_freed *freed = argument;
	struct rs_forest *forest = freed->forest;
	const struct rs_observer *observer = forest->observer;
	struct rs_error error = RS_ERROR_INIT;
	struct forest_accounts *accounts = forest_accounts_held(forest);
	struct extent_result done;
	struct buffer *buffer;
	int result = commit_freed_reserve(freed);

	extent_index_prefetch(forest->extents, head->ahead);
	if (!result)
		result = extent_index_apply(forest->extents, head, &done, &error);
	if (result == -ENOMEM)
		return result;
	if (result)
		return trans_abort(forest, result, "%s", error.what);
	if (accounts)
		accounts->hooks->head(accounts, head, &done);
	if (done.outcome == EXTENT_FREED) {
		buffer = commit_is_block(head) ? buffer_find(&forest->buffers, head->bytenr) : NULL;
		assert(!buffer || !buffer_refs(buffer_word_approx(buffer)));
		if (buffer)
			freed->buffers[freed->buffer_count++] = buffer;
		freed->pieces[freed->count++] = (struct space_piece){ head->bytenr, done.bytes };
	}
	if (observer && observer->head) {
		result = observer->head(observer->argument, head);
		if (result)
			return trans_abort(forest, result,
					   "the observer refuses the head of %" PRIu64,
					   head->bytenr);
	}
	return 0;
}

/* No reader is left that could come to them. */
static void commit_freed_return(struct rcu_deferred *deferred)
{
	/* `deferred` is the first member. */
	struct commit_freed *freed = (struct commit_freed *)deferred;
	size_t at;

	for (at = 0; at < freed->buffer_count; at++)
		buffer_free(freed->buffers[at]);
	for (at = 0; at < freed->count; at++)
		space_free(&freed->forest->space, freed->pieces[at].bytenr,
			   freed->pieces[at].bytes);
	commit_freed_destroy(freed);
}

/* Returns when nobody is in an operation any more, and nobody begins one. */
static int commit_stop_writers(struct rs_forest *forest)
{
	/* TRANS.committing: before the cut: who is not waited for sees it. */
	order_store_release(&forest->committing, 1);
	window_pass("commit.stopping");
	return rs_cut_wait(forest->record, rs_cut_take(forest->record), UINT64_MAX, NULL);
}

static void commit_let_writers_go(struct rs_forest *forest)
{
	/* TRANS.committing: what the commit did. */
	order_store_release(&forest->committing, 0);
	futex_wake_all(&forest->committing);
}

/* Places for what the roots will have committed. The roots, in a list by themselves. */
static int commit_prepare(struct rs_forest *forest, struct rs_subvol *snapshot)
{
	struct rs_subvol *root;

	for (root = forest->dirty; root; root = root->dirty_next)
		if (!root->committing)
			root->committing = alloc_zeroed(1, sizeof(*root->committing));
	for (root = forest->dirty; root && root->committing; root = root->dirty_next)
		;
	if (root)
		return -ENOMEM;
	if (!snapshot)
		return 0;
	if (!snapshot->committing)
		snapshot->committing = alloc_zeroed(1, sizeof(*snapshot->committing));
	if (!snapshot->source->committing)
		snapshot->source->committing = alloc_zeroed(1, sizeof(*snapshot->committing));
	return snapshot->committing && snapshot->source->committing ? 0 : -ENOMEM;
}

static int commit_snapshot(struct rs_writer *writer, struct rs_subvol *snapshot)
{
	struct rs_forest *forest = writer->forest;
	struct rs_subvol *source = snapshot->source;
	/* Relaxed: under the commit's lock, with no writer. */
	int result = order_load_relaxed(&source->state) == ROOT_LIVE ? 0 : -ENOENT;

	if (!result)
		result = rs_operation_begin(writer->producer);
	if (result)
		return result;
	writer->generation = order_load_relaxed(&forest->generation);
	snapshot->created = writer->generation;
	result = cow_snapshot(writer, source, snapshot);
	rs_operation_end(writer->producer);
	if (result)
		return trans_abort(forest, result, "a snapshot of subvolume %" PRIu64 " failed",
				   source->id);
	return 0;
}

static void commit_root_free(struct rcu_deferred *deferred)
{
	/* `deferred` is the first member. */
	alloc_free((struct root_commit *)deferred);
}

static void commit_publish_root(struct rs_forest *forest, struct rs_subvol *root,
				uint64_t generation)
{
	/* Relaxed: this thread alone changes it. */
	struct root_commit *old = order_load_relaxed(&root->commit);
	struct root_commit *commit = root->committing;
	uint32_t state = order_load_relaxed(&root->state);

	commit->node = root->node;
	commit->generation = generation;
	commit->dropping = state == ROOT_DELETED || state == ROOT_GONE;
	commit->drop_level = root->drop_level;
	commit->drop_progress = root->drop_progress;
	root->committing = NULL;
	root->dirty = false;
	/* ROOT.commit: the tree, as it is committed. */
	rcu_pointer_publish(&root->commit, commit);
	if (state == ROOT_NEW)
		/* ROOT.state: the tree. */
		order_store_release(&root->state, ROOT_LIVE);
	if (old)
		rcu_defer(&old->deferred, commit_root_free);
	if (state == ROOT_DELETED && !root->drop_known) {
		root->drop_known = true;
		root->drop_next = forest->drops;
		forest->drops = root;
		/* Relaxed: a sum. */
		order_fetch_add_relaxed(&forest->dropping, 1);
	}
}

static bool commit_deletes(const struct rs_subvol *root)
{
	/* Relaxed: no writer is in a transaction. */
	return order_load_relaxed(&root->state) == ROOT_DELETED && !root->drop_known;
}

/* What comes behind the heads. `ran` is what became of them. */
static int commit_tell(struct rs_forest *forest, struct rs_subvol *snapshot, int ran)
{
	const struct rs_observer *observer = forest->observer;
	struct rs_subvol *root = forest->dirty;
	int result = 0;

	while (root && !commit_deletes(root))
		root = root->dirty_next;
	if (ran && (snapshot || root))
		return trans_abort(forest, ran,
				   "the heads before a snapshot or a deletion cannot be run");
	if (!observer)
		return 0;
	if (snapshot && observer->snapshot)
		result = observer->snapshot(observer->argument, snapshot->source->id, snapshot->id);
	for (; root && !result && observer->deleted; root = root->dirty_next)
		if (commit_deletes(root))
			result = observer->deleted(observer->argument, root->id);
	if (result)
		return trans_abort(forest, result, "the observer refuses a commit");
	return 0;
}

static void commit_publish(struct rs_forest *forest)
{
	uint64_t generation = order_load_relaxed(&forest->generation);
	struct rs_subvol *root;

	lock_acquire(&forest->dirty_lock);
	while ((root = forest->dirty)) {
		forest->dirty = root->dirty_next;
		commit_publish_root(forest, root, generation);
	}
	lock_release(&forest->dirty_lock);
	/* Relaxed, all of them: no writer is in a transaction; sums. */
	order_store_relaxed(&forest->generation, generation + 1);
	order_store_relaxed(&forest->deltas, 0);
	order_fetch_add_relaxed(&forest->commits, 1);
	/* DROP.wanted: the list. */
	order_fetch_add_release(&forest->drop_wanted, 1);
	futex_wake_all(&forest->drop_wanted);
}

/* Behind the heads: what they mean to the accounts, up to and with roots that are deleted. */
static void commit_account(struct rs_forest *forest, struct rs_subvol *snapshot)
{
	struct forest_accounts *accounts = forest_accounts_held(forest);
	struct rs_subvol *root;

	if (!accounts)
		return;
	accounts->hooks->settle(accounts, snapshot);
	for (root = forest->dirty; root; root = root->dirty_next)
		if (commit_deletes(root))
			accounts->hooks->deleted(accounts, root);
	/* Relaxed: under the commit lock. */
	accounts->hooks->finish(accounts, order_load_relaxed(&forest->generation));
}

/* Runs the heads of all transactions that have ended. */
static int commit_run(struct rs_forest *forest, struct commit_freed *freed)
{
	struct rs_run_result ran;
	int result = rs_cut_wait(forest->record, forest->last_cut, UINT64_MAX, NULL);

	if (!result) {
		result = rs_record_run(forest->record, forest->last_cut, commit_head, freed, &ran);
		/* Relaxed: a sum. */
		order_fetch_add_relaxed(&forest->heads, ran.heads);
	}
	forest->trails = result != 0;
	return result;
}

/* What can fail with nothing seen of it. */
static int commit_begin(struct rs_forest *forest, struct rs_subvol *snapshot,
			struct commit_freed *freed)
{
	struct forest_accounts *accounts = forest_accounts_held(forest);
	int result = 0;

	/* One of those that have ended just now may have aborted. */
	if (rs_forest_aborted(forest, NULL))
		return -EROFS;
	if (accounts)
		accounts->hooks->begin(accounts, snapshot);
	/* Neither a snapshot nor a deletion trails. */
	if (forest->trails) {
		result = commit_run(forest, freed);
		/* An extent may have a head of this transaction too. */
		if (!result && accounts)
			accounts->hooks->settle(accounts, NULL);
	}
	return result ? result : commit_prepare(forest, snapshot);
}

static int commit_all(struct rs_writer *writer, struct rs_subvol *snapshot,
		      struct commit_freed *freed)
{
	struct rs_forest *forest = writer->forest;
	int result = commit_begin(forest, snapshot, freed);

	if (!result && snapshot)
		result = commit_snapshot(writer, snapshot);
	if (!result) {
		result = rs_commit_cut(forest->record, &forest->last_cut);
		if (result && snapshot)
			trans_abort(forest, result,
				    "a transaction with a snapshot cannot be ended");
	}
	if (result)
		return result;
	result = commit_run(forest, freed);
	if (rs_forest_aborted(forest, NULL) || commit_tell(forest, snapshot, result))
		return rs_forest_aborted(forest, NULL);
	if (!result)
		commit_account(forest, snapshot);
	commit_publish(forest);
	return result;
}

/* What comes with a commit. */
struct commit_request {
	struct rs_subvol *snapshot;                            /* or NULL */
	int (*then)(struct rs_forest *forest, void *argument); /* or NULL */
	void *argument;
};

static void commit_lock_acquire(struct rs_forest *forest)
{
	/* Relaxed, both: who gives way to commits looks again. */
	order_fetch_add_relaxed(&forest->commits_wait, 1);
	lock_acquire(&forest->commit_lock);
	order_fetch_sub_relaxed(&forest->commits_wait, 1);
}

static void commit_probe_begin(struct rs_forest *forest)
{
	/* Relaxed, both, here and below: changed under the commit lock. */
	PROBE2(commit_begin, order_load_relaxed(&forest->generation),
	       order_load_relaxed(&forest->heads));
}

static void commit_probe_end(struct rs_forest *forest)
{
	PROBE2(commit_end, order_load_relaxed(&forest->generation),
	       order_load_relaxed(&forest->heads));
}

static int commit_request(struct rs_writer *writer, const struct commit_request *request)
{
	struct rs_forest *forest = writer->forest;
	struct rs_subvol *snapshot = request->snapshot;
	struct commit_freed *freed = alloc_zeroed(1, sizeof(*freed));
	bool aborted = false;
	int result;

	assert(!writer->joined);
	if (!freed)
		return -ENOMEM;
	freed->forest = forest;
	commit_lock_acquire(forest);
	commit_probe_begin(forest);
	result = rs_forest_aborted(forest, NULL) ? -EROFS : 0;
	if (!result && snapshot)
		result = space_blocks_reserve(&writer->windows[SPACE_METADATA], 1);
	if (!result) {
		result = commit_stop_writers(forest);
		if (!result)
			result = commit_all(writer, snapshot, freed);
		if (!result && request->then)
			result = request->then(forest, request->argument);
		/* Before others can abort the next transaction, which leaves this one committed. */
		aborted = rs_forest_aborted(forest, NULL) != 0;
		commit_let_writers_go(forest);
	}
	/* Accounts that could not take it up have it until they can. */
	if (snapshot && (result || !forest_accounts_held(forest)))
		root_inherit_forget(snapshot);
	if (snapshot && snapshot->inherit)
		/* Relaxed: who acts on it looks again under the lock. */
		order_store_relaxed(&forest->inherit_waits, 1);
	commit_probe_end(forest);
	lock_release(&forest->commit_lock);
	/* What an aborted transaction frees is not free in the last commit. */
	if (aborted)
		commit_freed_destroy(freed);
	else
		rcu_defer(&freed->deferred, commit_freed_return);
	return result;
}

int commit_with(struct rs_writer *writer, struct rs_subvol *snapshot)
{
	return commit_request(writer, &(struct commit_request){ .snapshot = snapshot });
}

int commit_then(struct rs_writer *writer, int (*then)(struct rs_forest *forest, void *argument),
		void *argument)
{
	return commit_request(writer,
			      &(struct commit_request){ .then = then, .argument = argument });
}

int trans_commit(struct rs_writer *writer)
{
	return commit_with(writer, NULL);
}

int rs_forest_commit(struct rs_writer *writer)
{
	return trans_commit(writer);
}
