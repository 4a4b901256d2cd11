/* SPDX-License-Identifier: MIT */
#include "core/qgroup/live_accounts.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"
#include "core/base/plant.h"
#include "core/qgroup/live_accounts_extent.h"
#include "core/qgroup/live_rescan.h"
#include "core/forest/root.h"

static inline struct live_accounts *accounts_hooked(struct forest_accounts *hooked)
{
	/* The first member. */
	return (struct live_accounts *)hooked;
}

enum {
	FIGURE_SETS,
	FIGURE_RUNS,
	FIGURE_BYTES,
	FIGURE_LAYERED
};

struct live_accounts *live_accounts_of(struct rs_forest *forest)
{
	/* QUOTA.accounts: sees all of them. */
	return rcu_pointer_observe(&forest->accounts);
}

struct live_accounts *live_accounts_held(struct rs_forest *forest)
{
	return (struct live_accounts *)forest_accounts_held(forest);
}

bool live_accounts_root_lives(const struct rs_subvol *root, bool fresh)
{
	/* Relaxed: writers change it in a transaction only from one of these to another. */
	uint32_t state = order_load_relaxed(&root->state);

	if (state == ROOT_NEW)
		return fresh && root->node && !root->source;
	/* One that came to nothing is deleted by the commit that was to show it. */
	return state == ROOT_LIVE || (state == ROOT_DELETED && !root->drop_known);
}

bool live_accounts_root_is_gone(const struct rs_subvol *root)
{
	/* Relaxed: as above. */
	uint32_t state = order_load_relaxed(&root->state);

	return state == ROOT_GONE || (state == ROOT_DELETED && root->drop_known);
}

/* A snapshot stands right behind its source, where that lives. */
static int live_accounts_root_add(struct live_accounts *accounts, const struct rs_subvol *root)
{
	if (live_ledger_has_root(accounts->ledger, root->id))
		return 0;
	if (root->parent && live_ledger_has_root(accounts->ledger, root->parent))
		return live_ledger_snapshot(accounts->ledger, root->parent, root->id, NULL, 0);
	return live_ledger_root_add(accounts->ledger, root->id);
}

static int live_accounts_roots_add(struct live_accounts *accounts)
{
	struct rs_subvol *root = NULL;
	int result = live_groups_begin(accounts->groups);

	while (!result && (root = forest_root_next(accounts->forest, root))) {
		/* Relaxed: a commit changes it, under the lock that the caller holds. */
		if (order_load_relaxed(&root->state) == ROOT_LIVE)
			result = live_accounts_root_add(accounts, root);
	}
	return result ? result : live_ledger_finish(accounts->ledger);
}

static void live_accounts_notes_free(struct live_accounts_notes *notes)
{
	alloc_free(notes->changes);
	alloc_free(notes->deltas);
}

void live_accounts_destroy(struct live_accounts *accounts)
{
	live_rescan_destroy(accounts->rescan);
	if (accounts->engine == RS_QUOTA_EXTENT)
		live_accounts_extent_destroy(accounts);
	live_ledger_destroy(accounts->ledger);
	pool_destroy(accounts->pool);
	live_accounts_notes_free(&accounts->notes);
	live_accounts_notes_free(&accounts->late);
	alloc_free(accounts);
}

void live_accounts_clear(struct live_accounts *accounts)
{
	accounts->known = 0;
	accounts->lost = false;
	/* Their words are of before. */
	accounts->notes.change_count = accounts->notes.delta_count = 0;
	accounts->late.change_count = accounts->late.delta_count = 0;
	if (accounts->extent)
		live_accounts_extent_clear(accounts);
	else
		live_ledger_clear(accounts->ledger);
}

void live_accounts_give_up(struct live_accounts *accounts, int code, const struct rs_error *reason)
{
	/* The first reason stays, until a count has made the accounts right again. */
	if (!accounts->reason.code) {
		if (reason && reason->code)
			accounts->reason = *reason;
		else
			error_set(&accounts->reason, code, "the accounts of a commit failed");
	}
	/* Relaxed: changed under the commit lock. */
	order_store_relaxed(&accounts->inconsistent, 1);
	accounts->scan = true;
	live_accounts_clear(accounts);
	live_rescan_lose(accounts->rescan);
}

static void accounts_begin(struct forest_accounts *hooked, const struct rs_subvol *snapshot)
{
	struct live_accounts *accounts = accounts_hooked(hooked);
	struct rs_error error = RS_ERROR_INIT;

	accounts->snapshot = snapshot ? snapshot->id : 0;
	if (!accounts->forest->trails)
		return;
	/* The commit before has shown what it had, and told nothing of it. */
	accounts->scan = true;
	/* Back references that trail behind the trees lead to other roots than those of the commit before. */
	if (accounts->extent)
		live_extent_lose(accounts->extent,
				 error_set(&error, -ENOMEM, "the heads of a commit trail"), &error);
}

/* One more change, whose deltas come next. NULL: no memory. */
static struct live_change *live_accounts_note(struct live_accounts_notes *notes, size_t deltas)
{
	void *grown = array_grow(notes->changes, notes->change_count, 1, &notes->change_capacity,
				 sizeof(*notes->changes));

	if (!grown)
		return NULL;
	notes->changes = grown;
	grown = array_grow(notes->deltas, notes->delta_count, deltas + 1, &notes->delta_capacity,
			   sizeof(*notes->deltas));
	if (!grown)
		return NULL;
	notes->deltas = grown;
	return &notes->changes[notes->change_count];
}

/* Deltas of all roots but the new one, or of that alone; a change without is none. */
static bool live_accounts_note_head(struct live_accounts *accounts,
				    struct live_accounts_notes *notes, bool late,
				    const struct rs_head *head, const struct extent_result *result)
{
	struct live_change *change = live_accounts_note(notes, head->root_count);
	size_t at;

	if (!change)
		return false;
	*change = (struct live_change){
		.bytenr = head->bytenr,
		.bytes = result->bytes,
		.word = result->account,
		.metadata = result->metadata,
		.gone = !late && result->outcome == EXTENT_FREED && result->account,
		.first = (uint32_t)notes->delta_count,
	};
	for (at = 0; at < head->root_count; at++) {
		const struct rs_delta *delta = &head->roots[at];

		if (!delta->count || (delta->root == accounts->snapshot) != late)
			continue;
		notes->deltas[notes->delta_count++] =
			(struct live_delta){ .root = delta->root, .count = delta->count };
		change->count++;
	}
	if (change->count || change->gone)
		notes->change_count++;
	return true;
}

static bool live_accounts_concerns_snapshot(const struct live_accounts *accounts,
					    const struct rs_head *head)
{
	size_t at;

	for (at = 0; at < head->root_count; at++)
		if (head->roots[at].root == accounts->snapshot)
			return true;
	return false;
}

static bool live_accounts_knows(const struct live_accounts *accounts, uint64_t bytenr)
{
	return bytenr < accounts->known ||
	       (plant_armed("rescan.stamp") && bytenr == accounts->known);
}

static void accounts_head(struct forest_accounts *hooked, const struct rs_head *head,
			  const struct extent_result *result)
{
	struct live_accounts *accounts = accounts_hooked(hooked);

	if (accounts->extent || accounts->lost || !live_accounts_knows(accounts, head->bytenr))
		return;
	if (!head->root_count && !(result->outcome == EXTENT_FREED && result->account))
		return;
	if (!live_accounts_note_head(accounts, &accounts->notes, false, head, result))
		accounts->lost = true;
	else if (accounts->snapshot && live_accounts_concerns_snapshot(accounts, head))
		accounts->lost =
			!live_accounts_note_head(accounts, &accounts->late, true, head, result);
}

/* Subvolumes that the commit shows for the first time, but for its snapshot. */
static int live_accounts_meet(struct live_accounts *accounts)
{
	const struct rs_subvol *root = accounts->forest->dirty;
	int result = 0;

	if (accounts->scan)
		return live_accounts_scan(accounts, true);
	for (; root && !result; root = root->dirty_next)
		if (live_accounts_root_lives(root, true) &&
		    !live_ledger_has_root(accounts->ledger, root->id))
			result = live_ledger_root_add(accounts->ledger, root->id);
	return result;
}

static int live_accounts_scan_root(struct live_accounts *accounts, const struct rs_subvol *root,
				   bool fresh)
{
	bool known = live_ledger_has_root(accounts->ledger, root->id);

	if (known && live_accounts_root_is_gone(root))
		return live_ledger_drop(accounts->ledger, root->id);
	if (!known && live_accounts_root_lives(root, fresh))
		return live_ledger_root_add(accounts->ledger, root->id);
	return 0;
}

/* What the commit that made it could not: groups that it was to be a member of, if they are still there. */
static int live_accounts_scan_inherit(struct live_accounts *accounts, struct rs_subvol *root)
{
	int result = 0;
	size_t at;

	for (at = 0; at < root->inherit_count && result != -ENOMEM; at++)
		result = live_groups_assign(accounts->groups, root->id, root->inherit[at]);
	if (result == -ENOMEM)
		return result;
	root_inherit_forget(root);
	return 0;
}

int live_accounts_scan(struct live_accounts *accounts, bool fresh)
{
	struct rs_subvol *root = NULL;
	int result = 0;

	while (!result && (root = forest_root_next(accounts->forest, root))) {
		result = accounts->extent ? live_accounts_extent_scan(accounts, root, fresh) :
					    live_accounts_scan_root(accounts, root, fresh);
		/* Relaxed: as above. One that is new is its maker's. */
		if (!result && order_load_relaxed(&root->state) == ROOT_LIVE && root->inherit)
			result = live_accounts_scan_inherit(accounts, root);
	}
	accounts->scan = result != 0;
	if (!result)
		/* Relaxed: under the commit lock. */
		order_store_relaxed(&accounts->forest->inherit_waits, 0);
	return result;
}

/* The ledger takes the notes, and their words go back to the extents. */
static int live_accounts_apply(struct live_accounts *accounts, struct live_accounts_notes *notes,
			       struct rs_error *error)
{
	struct extent_index *index = accounts->forest->extents;
	size_t at;
	int result;

	if (!notes->change_count)
		return 0;
	result = live_ledger_apply(accounts->ledger, notes->changes, notes->change_count,
				   notes->deltas, error);
	for (at = 0; at < notes->change_count; at++)
		if (!notes->changes[at].gone)
			(void)extent_index_account_set(index, notes->changes[at].bytenr,
						       notes->changes[at].word);
	notes->change_count = notes->delta_count = 0;
	return result;
}

/* The words of now, which the changes before may have changed. */
static void live_accounts_refresh(struct live_accounts *accounts, struct live_accounts_notes *notes)
{
	struct extent extent;
	size_t at;

	for (at = 0; at < notes->change_count; at++)
		if (extent_index_find(accounts->forest->extents, notes->changes[at].bytenr,
				      &extent))
			notes->changes[at].word = extent.account;
}

static int live_accounts_settle_all(struct live_accounts *accounts, struct rs_subvol *snapshot,
				    struct rs_error *error)
{
	int result = live_groups_begin(accounts->groups);

	if (!result)
		result = live_accounts_meet(accounts);
	if (!result && !plant_armed("accounts.after-drop"))
		result = live_accounts_apply(accounts, &accounts->notes, error);
	if (result || !snapshot)
		return result;
	result = live_ledger_snapshot(accounts->ledger, snapshot->source->id, snapshot->id,
				      snapshot->inherit, snapshot->inherit_count);
	if (result)
		return result;
	root_inherit_forget(snapshot);
	if (plant_armed("ledger.root-node"))
		accounts->late.change_count = accounts->late.delta_count = 0;
	live_accounts_refresh(accounts, &accounts->late);
	return live_accounts_apply(accounts, &accounts->late, error);
}

static void accounts_settle(struct forest_accounts *hooked, struct rs_subvol *snapshot)
{
	struct live_accounts *accounts = accounts_hooked(hooked);
	struct rs_error error = RS_ERROR_INIT;
	int result = accounts->lost ? -ENOMEM : 0;

	if (!result)
		result = accounts->extent ?
				 live_accounts_extent_settle(accounts, snapshot, &error) :
				 live_accounts_settle_all(accounts, snapshot, &error);
	if (!result)
		return;
	live_accounts_give_up(accounts, result, &error);
	if (!snapshot || !accounts->ledger)
		return;
	/* Its place behind its source is known only now. All else about roots is seen to when they are scanned. */
	if (live_ledger_has_root(accounts->ledger, snapshot->id) ||
	    !live_ledger_has_root(accounts->ledger, snapshot->source->id))
		return;
	if (live_ledger_snapshot(accounts->ledger, snapshot->source->id, snapshot->id,
				 snapshot->inherit, snapshot->inherit_count))
		live_accounts_clear(accounts);
	else
		root_inherit_forget(snapshot);
}

static void accounts_deleted(struct forest_accounts *hooked, struct rs_subvol *root)
{
	struct live_accounts *accounts = accounts_hooked(hooked);
	struct rs_error error = RS_ERROR_INIT;
	int result = 0;

	if (accounts->extent)
		result = live_accounts_extent_deleted(accounts, root, &error);
	else if (live_ledger_has_root(accounts->ledger, root->id))
		result = live_ledger_drop(accounts->ledger, root->id);
	if (result)
		live_accounts_give_up(accounts, result, &error);
}

void live_accounts_publish(struct live_accounts *accounts)
{
	struct live_ledger_figures figures;

	if (!accounts->ledger)
		return;
	live_ledger_figures_read(accounts->ledger, &figures);
	/* Relaxed, all of them: figures of some moment. */
	order_store_relaxed(&accounts->figures[FIGURE_SETS], figures.sets.sets);
	order_store_relaxed(&accounts->figures[FIGURE_RUNS], figures.sets.runs);
	order_store_relaxed(&accounts->figures[FIGURE_BYTES], figures.bytes);
	order_store_relaxed(&accounts->figures[FIGURE_LAYERED], figures.layered);
}

bool live_accounts_inconsistent(const struct live_accounts *accounts)
{
	/* Relaxed: changed under the commit lock; to others it is of some moment. */
	return order_load_relaxed(&accounts->inconsistent);
}

void live_accounts_read(const struct live_accounts *accounts, struct rs_quota_status *status)
{
	status->inconsistent = live_accounts_inconsistent(accounts);
	/* Relaxed, all of them: of some moment. */
	status->generation = order_load_relaxed(&accounts->generation);
	status->sets = order_load_relaxed(&accounts->figures[FIGURE_SETS]);
	status->set_runs = order_load_relaxed(&accounts->figures[FIGURE_RUNS]);
	status->set_bytes = order_load_relaxed(&accounts->figures[FIGURE_BYTES]);
	status->layered = order_load_relaxed(&accounts->figures[FIGURE_LAYERED]);
}

static void accounts_finish(struct forest_accounts *hooked, uint64_t generation)
{
	struct live_accounts *accounts = accounts_hooked(hooked);
	int result = 0;

	if (accounts->extent) {
		live_accounts_extent_finish(accounts);
	} else {
		/* What is known of some extents only is no number. */
		if (live_accounts_inconsistent(accounts))
			live_groups_clear(accounts->groups);
		if (plant_armed("accounts.after-drop"))
			result = live_accounts_apply(accounts, &accounts->notes, NULL);
		if (!result)
			result = live_ledger_finish(accounts->ledger);
	}
	if (result)
		live_accounts_give_up(accounts, result, NULL);
	live_accounts_publish(accounts);
	/* Relaxed: the groups' own words tell of their numbers. */
	order_store_relaxed(&accounts->generation, generation);
}

static void accounts_trace(struct forest_accounts *hooked, uint64_t bytenr, uint64_t bytes,
			   bool metadata)
{
	live_extent_trace(accounts_hooked(hooked)->extent, bytenr, bytes, metadata);
}

static void accounts_destroy(struct forest_accounts *hooked)
{
	live_accounts_destroy(accounts_hooked(hooked));
}

static const struct forest_hooks accounts_ledger_hooks = {
	.begin = accounts_begin,
	.head = accounts_head,
	.settle = accounts_settle,
	.deleted = accounts_deleted,
	.finish = accounts_finish,
	.destroy = accounts_destroy,
	.root_deltas = true,
};

static const struct forest_hooks accounts_extent_hooks = {
	.begin = accounts_begin,
	.head = accounts_head,
	.settle = accounts_settle,
	.deleted = accounts_deleted,
	.finish = accounts_finish,
	.trace = accounts_trace,
	.destroy = accounts_destroy,
};

static int live_accounts_ledger_create(struct live_accounts *accounts)
{
	int result = pool_create(0, &accounts->pool, NULL);

	if (!result)
		result = live_ledger_create(accounts->pool, &accounts->ledger);
	if (result)
		return result;
	accounts->groups = live_ledger_groups(accounts->ledger);
	return live_accounts_roots_add(accounts);
}

/* The hierarchy of the image that the forest was made of; what concerns subvolumes that are gone is left out. */
static int live_accounts_groups_take(struct live_accounts *accounts)
{
	const struct forest_groups *groups = &accounts->forest->groups;
	size_t at;

	for (at = 0; at < groups->count; at++) {
		const struct forest_group_link *link = &groups->links[at];
		int result = link->parent ? live_groups_assign(accounts->groups, link->group,
							       link->parent) :
					    live_groups_create_group(accounts->groups, link->group);

		if (result == -ENOMEM)
			return result;
	}
	return groups->count ? live_groups_begin(accounts->groups) : 0;
}

int live_accounts_create(struct rs_forest *forest, enum rs_quota_engine engine,
			 struct live_accounts **out)
{
	struct live_accounts *accounts = alloc_zeroed(1, sizeof(*accounts));
	int result = accounts ? 0 : -ENOMEM;

	if (result)
		return result;
	accounts->hooked.hooks = engine == RS_QUOTA_EXTENT ? &accounts_extent_hooks :
							     &accounts_ledger_hooks;
	accounts->forest = forest;
	accounts->engine = engine;
	/* Relaxed: nobody knows it yet. */
	order_store_relaxed(&accounts->inconsistent, 1);
	result = engine == RS_QUOTA_EXTENT ? live_accounts_extent_create(accounts) :
					     live_accounts_ledger_create(accounts);
	if (!result)
		result = live_accounts_groups_take(accounts);
	if (!result)
		result = live_rescan_create(accounts, &accounts->rescan);
	if (result) {
		live_accounts_destroy(accounts);
		return result;
	}
	*out = accounts;
	return 0;
}
