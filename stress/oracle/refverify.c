/* SPDX-License-Identifier: MIT */
#include "stress/oracle/refverify_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/alloc.h"

#define HISTORY_DEFAULT 16U

/* With room for the frames behind it. */
union stacked_action {
	struct refverify_action action;
	uint8_t bytes[sizeof(struct refverify_action) + REFVERIFY_TRACE_MAX * sizeof(uintptr_t)];
};

int refverify_create(const struct refverify_options *options, struct refverify **out)
{
	static const struct refverify_options defaults;
	struct refverify *verify;
	unsigned shard;

	options = options ? options : &defaults;
	if (options->trace_depth > REFVERIFY_TRACE_MAX)
		return -EINVAL;
	verify = alloc_aligned(ORDER_LINE, 1, sizeof(*verify));
	if (!verify)
		return -ENOMEM;
	verify->trace_depth = options->trace_depth;
	verify->history = options->history ? options->history : HISTORY_DEFAULT;
	verify->observer = (struct rs_observer){ .argument = verify, .ref = refverify_ref };
	pthread_mutex_init(&verify->text_lock, NULL);
	for (shard = 0; shard < REFVERIFY_SHARDS; shard++)
		pthread_mutex_init(&verify->shards[shard].lock, NULL);
	*out = verify;
	return 0;
}

static bool every_entry(void *argument, struct refverify_entry *entry)
{
	(void)argument;
	(void)entry;
	return true;
}

void refverify_destroy(struct refverify *verify)
{
	unsigned at;

	if (!verify)
		return;
	for (at = 0; at < REFVERIFY_SHARDS; at++) {
		struct refverify_shard *shard = &verify->shards[at];

		refverify_entry_sweep(shard, every_entry, NULL);
		alloc_free(shard->chains);
		pthread_mutex_destroy(&shard->lock);
	}
	pthread_mutex_destroy(&verify->text_lock);
	alloc_free(verify);
}

const struct rs_observer *refverify_observer(const struct refverify *verify)
{
	return &verify->observer;
}

uint64_t refverify_failures(const struct refverify *verify)
{
	return order_load_relaxed(&verify->failures); /* relaxed: it only grows */
}

const char *refverify_text(struct refverify *verify, char *text, size_t bytes)
{
	pthread_mutex_lock(&verify->text_lock);
	snprintf(text, bytes, "%s", verify->text);
	pthread_mutex_unlock(&verify->text_lock);
	return text;
}

static bool count_live(void *argument, struct refverify_entry *entry)
{
	struct refverify_statistics *statistics = argument;

	statistics->entries++;
	statistics->live += entry->refs > 0;
	return false;
}

void refverify_statistics_read(struct refverify *verify, struct refverify_statistics *statistics)
{
	unsigned at;

	*statistics = (struct refverify_statistics){ 0 };
	for (at = 0; at < REFVERIFY_SHARDS; at++) {
		struct refverify_shard *shard = &verify->shards[at];

		pthread_mutex_lock(&shard->lock);
		statistics->actions += shard->actions;
		statistics->dropped += shard->dropped;
		refverify_entry_sweep(shard, count_live, statistics);
		pthread_mutex_unlock(&shard->lock);
	}
}

/* One check of one action; nothing of it is done yet. */
struct trial {
	struct refverify *verify;
	struct refverify_shard *shard;
	struct refverify_entry *entry;
	const struct refverify_action *captured;
	struct refverify_ref ref;
};

/* The level of a tree block is its own: it is not part of which reference it is. */
static struct refverify_ref reference_of(const struct rs_ref_action *action)
{
	bool data_by_root = !action->metadata && !action->parent;

	return (struct refverify_ref){
		.root = action->parent ? 0 : action->root,
		.parent = action->parent,
		.owner = data_by_root ? action->owner : 0,
		.offset = data_by_root ? action->offset : 0,
		.count = 1,
	};
}

static int check_action(const struct trial *trial)
{
	const struct rs_ref_action *action = &trial->captured->action;

	if (action->kind != RS_REF_ALLOCATE && action->kind != RS_REF_ADD &&
	    action->kind != RS_REF_DROP)
		return refverify_fail(trial->verify, trial->entry, trial->captured,
				      "an action of unknown kind %d", (int)action->kind);
	if (!action->bytes)
		return refverify_fail(trial->verify, trial->entry, trial->captured,
				      "an action on an extent of no bytes");
	if (!action->root == !action->parent)
		return refverify_fail(trial->verify, trial->entry, trial->captured,
				      "a reference of %s",
				      action->root ? "a root and a parent" :
						     "no root and no parent");
	return 0;
}

/* What the action says of the extent, against what is known. */
static int check_extent(const struct trial *trial)
{
	const struct rs_ref_action *action = &trial->captured->action;
	const struct refverify_entry *entry = trial->entry;

	if (!entry)
		return refverify_fail(trial->verify, NULL, trial->captured,
				      "an action on an extent at %" PRIu64 " that is not known",
				      action->bytenr);
	if (!entry->refs)
		return refverify_fail(trial->verify, entry, trial->captured,
				      "an action on an extent that has no references");
	if (entry->metadata != action->metadata)
		return refverify_fail(trial->verify, entry, trial->captured,
				      "an action on %s that is %s",
				      action->metadata ? "a tree block" : "data",
				      entry->metadata ? "a tree block" : "data");
	if (entry->bytes != action->bytes)
		return refverify_fail(trial->verify, entry, trial->captured,
				      "an action on an extent of %" PRIu64
				      " bytes that has %" PRIu64,
				      action->bytes, entry->bytes);
	if (entry->metadata && entry->level != REFVERIFY_LEVEL_UNKNOWN &&
	    entry->level != action->owner)
		return refverify_fail(trial->verify, entry, trial->captured,
				      "an action on a tree block of level %" PRIu64
				      " that is of level %" PRIu64,
				      action->owner, entry->level);
	return 0;
}

static int check_add(const struct trial *trial)
{
	if (trial->entry->metadata && refverify_entry_ref(trial->entry, &trial->ref))
		return refverify_fail(trial->verify, trial->entry, trial->captured,
				      "a second time the same reference to a tree block");
	return 0;
}

static int check_drop(const struct trial *trial)
{
	const struct refverify_ref *found = refverify_entry_ref(trial->entry, &trial->ref);
	const struct refverify_root *root;

	if (!found)
		return refverify_fail(trial->verify, trial->entry, trial->captured,
				      "drops a reference that is not there");
	if (!found->count)
		return refverify_fail(trial->verify, trial->entry, trial->captured,
				      "drops a reference that has none left");
	if (trial->ref.parent)
		return 0;
	root = refverify_entry_root(trial->entry, trial->ref.root);
	if (!root || !root->count)
		return refverify_fail(trial->verify, trial->entry, trial->captured,
				      "drops a reference of a root that the extent does not have");
	return 0;
}

static int check_allocation(const struct trial *trial)
{
	if (trial->entry && trial->entry->refs)
		return refverify_fail(trial->verify, trial->entry, trial->captured,
				      "allocates an extent that still has references");
	return 0;
}

static int check(const struct trial *trial)
{
	enum rs_ref_kind kind = trial->captured->action.kind;
	int ret = check_action(trial);

	if (ret)
		return ret;
	if (kind == RS_REF_ALLOCATE)
		return check_allocation(trial);
	ret = check_extent(trial);
	if (ret)
		return ret;
	return kind == RS_REF_ADD ? check_add(trial) : check_drop(trial);
}

/* All memory that applying it takes. */
static int reserve(struct trial *trial)
{
	const struct rs_ref_action *action = &trial->captured->action;

	if (!trial->entry)
		trial->entry = refverify_entry_add(trial->shard, action->bytenr);
	if (!trial->entry)
		return -ENOMEM;
	if (action->kind != RS_REF_DROP && refverify_entry_reserve(trial->entry))
		return -ENOMEM;
	return refverify_history_reserve(trial->verify, trial->entry);
}

static void apply(const struct trial *trial)
{
	const struct rs_ref_action *action = &trial->captured->action;
	struct refverify_entry *entry = trial->entry;

	if (action->kind == RS_REF_ALLOCATE) {
		refverify_history_clear(entry);
		entry->bytes = action->bytes;
		entry->metadata = action->metadata;
		entry->from_disk = false;
		entry->level = REFVERIFY_LEVEL_UNKNOWN;
	}
	if (entry->metadata && entry->level == REFVERIFY_LEVEL_UNKNOWN)
		entry->level = action->owner;
	if (action->kind == RS_REF_DROP)
		refverify_entry_ref_drop(entry, refverify_entry_ref(entry, &trial->ref));
	else
		refverify_entry_ref_add(entry, &trial->ref);
	trial->shard->dropped += refverify_history_add(trial->verify, entry, trial->captured);
}

int refverify_ref(void *argument, const struct rs_ref_action *action)
{
	struct refverify *verify = argument;
	union stacked_action captured;
	struct trial trial = {
		.verify = verify,
		.shard = refverify_entry_shard(verify, action->bytenr),
		.captured = &captured.action,
		.ref = reference_of(action),
	};
	int ret;

	refverify_history_capture(verify, action, &captured.action);
	pthread_mutex_lock(&trial.shard->lock);
	trial.shard->actions++;
	trial.entry = refverify_entry_find(trial.shard, action->bytenr);
	ret = check(&trial);
	if (!ret)
		ret = reserve(&trial);
	if (!ret)
		apply(&trial);
	pthread_mutex_unlock(&trial.shard->lock);
	return ret;
}
