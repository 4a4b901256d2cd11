/* SPDX-License-Identifier: MIT */
#include "workloads/script_forest_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"

static struct rs_subvol *look_up_subvol(const struct script_forest *back_end, uint32_t number)
{
	const char *name = script_subvol_name(back_end->script, number);

	if (!strncmp(name, "id:", 3))
		return rs_subvol_find_id(back_end->forest, strtoull(name + 3, NULL, 10));
	return rs_subvol_find(back_end->forest, name);
}

struct rs_subvol *script_forest_subvol(struct script_forest_seat *seat, uint32_t number)
{
	struct script_forest *back_end = seat->back_end;
	struct script_forest_kept *kept = &seat->subvols[number];
	/* Relaxed: see struct script_forest. */
	uint32_t changes = order_load_relaxed(&back_end->subvol_changes[number]);

	if (__builtin_expect(kept->subvol && kept->changes == changes, 1))
		return kept->subvol;
	kept->subvol = look_up_subvol(back_end, number);
	kept->changes = changes;
	return kept->subvol;
}

static int look_up_inode(struct script_forest_seat *seat, uint32_t number, bool create,
			 struct rs_subvol *subvol, uint64_t *inode)
{
	const struct script *script = seat->back_end->script;
	const struct script_place *place = script_place(script, number);

	return rs_file_find(seat->writer, subvol, script_file_name(script, place->file), create,
			    inode);
}

/* The subvolume and the inode of a place; with `create` the file is made where there is none. */
static int find_place(struct script_forest_seat *seat, uint32_t subvol_number, uint32_t number,
		      bool create, struct rs_subvol **subvol, uint64_t *inode)
{
	struct script_forest *back_end = seat->back_end;
	struct script_forest_kept_inode *kept = &seat->inodes[number];
	/* Relaxed: see struct script_forest. */
	uint32_t changes = order_load_relaxed(&back_end->place_changes[number]);
	int ret;

	*subvol = script_forest_subvol(seat, subvol_number);
	if (!*subvol)
		return -ENOENT;
	if (__builtin_expect(kept->inode && kept->place_changes == changes &&
				     kept->subvol_changes == seat->subvols[subvol_number].changes,
			     1)) {
		*inode = kept->inode;
		return 0;
	}
	ret = look_up_inode(seat, number, create, *subvol, inode);
	kept->inode = ret ? 0 : *inode;
	kept->subvol_changes = seat->subvols[subvol_number].changes;
	kept->place_changes = changes;
	return ret;
}

static int run_write(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_subvol *subvol;
	uint64_t inode;
	int ret = find_place(seat, operation->subvol, operation->place, true, &subvol, &inode);

	return ret ? ret :
		     rs_file_write(seat->writer, subvol, inode, operation->offset,
				   operation->length);
}

/* Both ends of a clone. The source is looked for first, as the kernel's callers open it first. */
static int find_ranges(struct script_forest_seat *seat, const struct script_operation *operation,
		       bool create, struct rs_file_range *source, struct rs_file_range *target)
{
	int ret = find_place(seat, operation->subvol, operation->place, false, &source->subvol,
			     &source->inode);

	source->offset = operation->offset;
	target->offset = operation->target_offset;
	if (ret)
		return ret;
	return find_place(seat, operation->target_subvol, operation->target_place, create,
			  &target->subvol, &target->inode);
}

static int run_clone(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_file_range source;
	struct rs_file_range target;
	int ret = find_ranges(seat, operation, true, &source, &target);

	return ret ? ret : rs_file_clone(seat->writer, &source, operation->length, &target);
}

static int run_dedupe(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_file_range source;
	struct rs_file_range target;
	int ret = find_ranges(seat, operation, false, &source, &target);

	return ret ? ret : rs_file_dedupe(seat->writer, &source, operation->length, &target);
}

static int run_truncate(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_subvol *subvol;
	uint64_t inode;
	int ret = find_place(seat, operation->subvol, operation->place, true, &subvol, &inode);

	return ret ? ret : rs_file_truncate(seat->writer, subvol, inode, operation->size);
}

static int run_punch(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_subvol *subvol;
	uint64_t inode;
	int ret = find_place(seat, operation->subvol, operation->place, false, &subvol, &inode);

	return ret ? ret :
		     rs_file_punch(seat->writer, subvol, inode, operation->offset,
				   operation->length);
}

static int run_fallocate(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_subvol *subvol;
	uint64_t inode;
	int ret = find_place(seat, operation->subvol, operation->place, true, &subvol, &inode);

	return ret ? ret :
		     rs_file_fallocate(seat->writer, subvol, inode, operation->offset,
				       operation->length);
}

static int run_unlink(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	const struct script *script = seat->back_end->script;
	const struct script_place *place = script_place(script, operation->place);
	struct rs_subvol *subvol = script_forest_subvol(seat, operation->subvol);
	int ret;

	if (!subvol)
		return -ENOENT;
	ret = rs_file_unlink(seat->writer, subvol, script_file_name(script, place->file));
	/* Relaxed: see struct script_forest. */
	order_fetch_add_relaxed(&seat->back_end->place_changes[operation->place], 1);
	return ret;
}

static int run_defrag(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_subvol *subvol;
	uint64_t inode;
	int ret = find_place(seat, operation->subvol, operation->place, false, &subvol, &inode);

	return ret ? ret : rs_file_defrag(seat->writer, subvol, inode);
}

/* What a name stands for has changed, or may have. */
static void subvol_changed(struct script_forest_seat *seat, uint32_t number)
{
	/* Relaxed: see struct script_forest. */
	order_fetch_add_relaxed(&seat->back_end->subvol_changes[number], 1);
}

static int run_subvol(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_subvol *made;
	int ret = rs_subvol_create(seat->writer,
				   script_subvol_name(seat->back_end->script, operation->subvol),
				   &made);

	subvol_changed(seat, operation->subvol);
	return ret;
}

static int run_snapshot(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_subvol *source = script_forest_subvol(seat, operation->subvol);
	struct rs_subvol *made;
	int ret;

	if (!source)
		return -ENOENT;
	ret = script_forest_quota_snapshot(seat, operation, source, &made);
	subvol_changed(seat, operation->target_subvol);
	return ret;
}

static int run_delete(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;
	struct rs_subvol *subvol = script_forest_subvol(seat, operation->subvol);
	int ret;

	if (!subvol)
		return -ENOENT;
	ret = rs_subvol_delete(seat->writer, subvol);
	subvol_changed(seat, operation->subvol);
	return ret;
}

static int run_commit(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;

	(void)operation;
	return rs_forest_commit(seat->writer);
}

static int run_drop_wait(void *thread, const struct script_operation *operation)
{
	struct script_forest_seat *seat = thread;

	(void)operation;
	return rs_forest_drop_wait(seat->writer);
}

static void forest_leave(void *thread)
{
	struct script_forest_seat *seat = thread;

	if (seat->writer)
		rs_writer_leave(seat->writer);
	alloc_free(seat->subvols);
	alloc_free(seat->inodes);
	alloc_free(seat);
}

static int forest_join(void *argument, void **thread)
{
	struct script_forest *back_end = argument;
	const struct script *script = back_end->script;
	struct script_forest_seat *seat = alloc_zeroed(1, sizeof(*seat));
	int ret = -ENOMEM;

	if (!seat)
		return -ENOMEM;
	seat->back_end = back_end;
	seat->subvols = alloc_zeroed(script->subvols.count + 1, sizeof(*seat->subvols));
	seat->inodes = alloc_zeroed(script->places.count + 1, sizeof(*seat->inodes));
	if (seat->subvols && seat->inodes)
		ret = rs_writer_join(back_end->forest, &seat->writer);
	if (ret)
		forest_leave(seat);
	else
		*thread = seat;
	return ret;
}

static int forest_aborted(void *argument, struct rs_error *error)
{
	struct script_forest *back_end = argument;

	return rs_forest_aborted(back_end->forest, error);
}

static const char *forest_found(void *thread)
{
	struct script_forest_seat *seat = thread;

	return seat->found[0] ? seat->found : NULL;
}

static const struct script_backend backend_of_all = {
	.name = "the forest",
	.join = forest_join,
	.leave = forest_leave,
	.aborted = forest_aborted,
	.refused = script_forest_quota_refused,
	.found = forest_found,
	.run = {
		[SCRIPT_WRITE] = run_write,
		[SCRIPT_CLONE] = run_clone,
		[SCRIPT_DEDUPE] = run_dedupe,
		[SCRIPT_TRUNCATE] = run_truncate,
		[SCRIPT_PUNCH] = run_punch,
		[SCRIPT_FALLOCATE] = run_fallocate,
		[SCRIPT_UNLINK] = run_unlink,
		[SCRIPT_DEFRAG] = run_defrag,
		[SCRIPT_SUBVOL] = run_subvol,
		[SCRIPT_SNAPSHOT] = run_snapshot,
		[SCRIPT_DELETE] = run_delete,
		[SCRIPT_COMMIT] = run_commit,
		[SCRIPT_DROP_WAIT] = run_drop_wait,
		[SCRIPT_QUOTA_ON] = script_forest_quota_on,
		[SCRIPT_QUOTA_OFF] = script_forest_quota_off,
		[SCRIPT_RESCAN_START] = script_forest_quota_rescan,
		[SCRIPT_RESCAN_WAIT] = script_forest_quota_rescan,
		[SCRIPT_RESCAN_PAUSE] = script_forest_quota_rescan,
		[SCRIPT_RESCAN_RESUME] = script_forest_quota_rescan,
		[SCRIPT_RESCAN_CANCEL] = script_forest_quota_rescan,
		[SCRIPT_GROUP_CREATE] = script_forest_quota_group,
		[SCRIPT_GROUP_REMOVE] = script_forest_quota_group,
		[SCRIPT_GROUP_ASSIGN] = script_forest_quota_group,
		[SCRIPT_GROUP_UNASSIGN] = script_forest_quota_group,
		[SCRIPT_EXPECT] = script_forest_quota_expect,
		[SCRIPT_EXPECT_RECLAIM] = script_forest_quota_reclaim,
	},
};

int script_forest_create(const struct script *script, struct rs_forest *forest,
			 struct script_forest **out, struct rs_error *error)
{
	struct script_forest *back_end = alloc_zeroed(1, sizeof(*back_end));

	*out = NULL;
	if (!back_end)
		return error_no_memory(error, "a back end");
	back_end->script = script;
	back_end->forest = forest;
	back_end->backend = backend_of_all;
	back_end->backend.argument = back_end;
	back_end->subvol_changes =
		alloc_zeroed(script->subvols.count + 1, sizeof(*back_end->subvol_changes));
	back_end->place_changes =
		alloc_zeroed(script->places.count + 1, sizeof(*back_end->place_changes));
	if (!back_end->subvol_changes || !back_end->place_changes) {
		script_forest_destroy(back_end);
		return error_no_memory(error, "a back end");
	}
	*out = back_end;
	return 0;
}

void script_forest_engine_set(struct script_forest *back_end, enum rs_quota_engine engine)
{
	back_end->engine = engine;
}

void script_forest_destroy(struct script_forest *back_end)
{
	if (!back_end)
		return;
	alloc_free(back_end->subvol_changes);
	alloc_free(back_end->place_changes);
	alloc_free(back_end);
}

const struct script_backend *script_forest_backend(const struct script_forest *back_end)
{
	return &back_end->backend;
}
