/* SPDX-License-Identifier: MIT */
/* Quotas of the forest, as scripts name them. */
#include "workloads/script_forest_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/alloc.h"

const char *script_forest_quota_refused(const struct script_operation *operation)
{
	if (operation->kind != SCRIPT_QUOTA_ON)
		return NULL;
	if (operation->engine == SCRIPT_ENGINE_OPER)
		return "the engine 'oper' is not available yet";
	if (operation->engine == SCRIPT_ENGINE_SIMPLE)
		return "the engine 'simple' is not available yet";
	return NULL;
}

int script_forest_quota_on(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	enum rs_quota_engine engine = seat->back_end->engine;

	if (operation->engine == SCRIPT_ENGINE_LEDGER)
		engine = RS_QUOTA_LEDGER;
	if (operation->engine == SCRIPT_ENGINE_EXTENT)
		engine = RS_QUOTA_EXTENT;
	return rs_quota_enable(seat->writer, engine);
}

int script_forest_quota_off(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;

	(void)operation;
	return rs_quota_disable(seat->writer);
}

int script_forest_quota_rescan(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_forest *forest = seat->back_end->forest;

	switch (operation->kind) {
	case SCRIPT_RESCAN_START:
		return rs_rescan_start(forest);
	case SCRIPT_RESCAN_WAIT:
		return rs_rescan_wait(forest);
	case SCRIPT_RESCAN_PAUSE:
		return rs_rescan_pause(forest);
	case SCRIPT_RESCAN_RESUME:
		return rs_rescan_resume(forest);
	default:
		return rs_rescan_cancel(forest);
	}
}

/* The id of the group with number `at` that the line names. 0 or -ENOENT: of no subvolume. */
static int find_group(struct script_forest_seat *seat, const struct script_operation *operation,
		      uint32_t at, uint64_t *id)
{
	const struct script *script = seat->back_end->script;
	const struct script_group *group = &script->groups[operation->group_first + at];
	struct rs_subvol *subvol;

	if (group->subvol == SCRIPT_NONE) {
		*id = rs_group_id((uint16_t)group->level, group->id);
		return 0;
	}
	subvol = script_forest_subvol(seat, group->subvol);
	if (!subvol)
		return -ENOENT;
	*id = rs_subvol_id(subvol);
	return 0;
}

int script_forest_quota_group(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_forest *forest = seat->back_end->forest;
	uint64_t parent = 0;
	uint64_t id;
	int ret = find_group(seat, operation, 0, &id);

	if (!ret && operation->group_count > 1)
		ret = find_group(seat, operation, 1, &parent);
	if (ret)
		return ret;
	switch (operation->kind) {
	case SCRIPT_GROUP_CREATE:
		return rs_group_create(forest, id);
	case SCRIPT_GROUP_REMOVE:
		return rs_group_remove(forest, id);
	case SCRIPT_GROUP_ASSIGN:
		return rs_group_assign(forest, id, parent);
	default:
		return rs_group_unassign(forest, id, parent);
	}
}

/* The ids of all groups or subvolumes that the line names. */
static int find_groups(struct script_forest_seat *seat, const struct script_operation *operation,
		       uint64_t **ids)
{
	int ret = 0;
	uint32_t at;

	*ids = alloc_array(operation->group_count, sizeof(**ids));
	if (!*ids)
		return -ENOMEM;
	for (at = 0; !ret && at < operation->group_count; at++)
		ret = find_group(seat, operation, at, &(*ids)[at]);
	return ret;
}

int script_forest_quota_snapshot(struct script_forest_seat *seat,
				 const struct script_operation *operation, struct rs_subvol *source,
				 struct rs_subvol **made)
{
	const char *name = script_subvol_name(seat->back_end->script, operation->target_subvol);
	bool read_only = operation->flags & SCRIPT_READ_ONLY;
	uint64_t *groups;
	int ret;

	if (!operation->group_count)
		return rs_subvol_snapshot(seat->writer, source, name, read_only, made);
	ret = find_groups(seat, operation, &groups);
	if (!ret)
		ret = rs_subvol_snapshot_into(seat->writer, source, name, read_only, groups,
					      operation->group_count, made);
	alloc_free(groups);
	return ret;
}

/* Why numbers may be wrong, behind what was found. */
static void describe_state(struct script_forest_seat *seat)
{
	struct rs_forest *forest = seat->back_end->forest;
	size_t length = strlen(seat->found);
	struct rs_error why = RS_ERROR_INIT;
	struct rs_quota_status status;

	rs_quota_status_read(forest, &status);
	if (!status.inconsistent)
		return;
	if (rs_quota_reason(forest, &why))
		snprintf(seat->found + length, sizeof(seat->found) - length,
			 "; the accounts are inconsistent: %s", why.what);
	else
		snprintf(seat->found + length, sizeof(seat->found) - length,
			 "; the accounts are not counted to their end");
}

/* What is there is as of a commit: as of now, if one is made, and what is being counted is counted. */
static int settle(struct script_forest_seat *seat)
{
	int ret = rs_forest_commit(seat->writer);

	/* What it returns is for who asks for it; what is found tells enough. */
	if (!ret)
		(void)!rs_rescan_wait(seat->back_end->forest);
	return ret;
}

int script_forest_quota_expect(void *thread, const struct script_operation *operation)
{
	bool data = operation->flags & SCRIPT_DATA_ONLY;
	struct script_forest_seat *seat = thread;
	struct rs_group_usage usage;
	uint64_t rfer;
	uint64_t excl;
	uint64_t id;
	int ret;

	seat->found[0] = 0;
	ret = find_group(seat, operation, 0, &id);
	if (!ret)
		ret = settle(seat);
	if (!ret)
		ret = rs_group_read(seat->back_end->forest, id, &usage);
	if (ret)
		return ret;
	rfer = data ? usage.data_rfer : usage.rfer;
	excl = data ? usage.data_excl : usage.excl;
	if (rfer == operation->rfer && excl == operation->excl)
		return 0;
	snprintf(seat->found, sizeof(seat->found),
		 "expected rfer %" PRIu64 " excl %" PRIu64 ", found rfer %" PRIu64 " excl %" PRIu64,
		 operation->rfer, operation->excl, rfer, excl);
	describe_state(seat);
	return -EUCLEAN;
}

int script_forest_quota_reclaim(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	uint64_t *ids;
	uint64_t bytes;
	int ret;

	seat->found[0] = 0;
	ret = find_groups(seat, operation, &ids);
	if (!ret)
		ret = settle(seat);
	if (!ret)
		ret = rs_reclaimable(seat->back_end->forest, ids, operation->group_count, &bytes);
	alloc_free(ids);
	if (ret || bytes == operation->bytes)
		return ret;
	snprintf(seat->found, sizeof(seat->found), "expected %" PRIu64 " bytes, found %" PRIu64,
		 operation->bytes, bytes);
	return -EUCLEAN;
}
