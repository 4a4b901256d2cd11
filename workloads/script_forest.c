/* SPDX-License-Identifier: MIT */
#include "workloads/script_forest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/base/order.h"

/*
 * How often what a name stands for has changed. Relaxed: a thread that reads an old number may use
 * what it has kept, as if it had run a little earlier; what a line must see was ordered before it
 * by the end of a section. A new number is read before the look-up that goes with it, and the look-up
 * takes the lock that the change was made under: it does not find what was there before.
 */
struct script_forest {
	const struct script *script;
	struct rs_forest *forest;
	order_u32 *subvol_changes; /* for each subvolume name: made or deleted */
	order_u32 *place_changes;  /* for each place: unlinked */
	struct script_backend backend;
};

struct kept_subvol {
	struct rs_subvol *subvol; /* NULL: nothing kept */
	uint32_t changes;
};

struct kept_inode {
	uint64_t inode; /* 0: nothing kept */
	uint32_t subvol_changes;
	uint32_t place_changes;
};

/* What a thread has. */
struct seat {
	struct script_forest *back_end;
	struct rs_writer *writer;
	struct kept_subvol *subvols;
	struct kept_inode *inodes;
};

static struct rs_subvol *look_up_subvol(const struct script_forest *back_end, uint32_t number)
{
	const char *name = script_subvol_name(back_end->script, number);

	if (!strncmp(name, "id:", 3))
		return rs_subvol_find_id(back_end->forest, strtoull(name + 3, NULL, 10));
	return rs_subvol_find(back_end->forest, name);
}

/* NULL if there is none. */
static struct rs_subvol *find_subvol(struct seat *seat, uint32_t number)
{
	struct script_forest *back_end = seat->back_end;
	struct kept_subvol *kept = &seat->subvols[number];
	/* Relaxed: see struct script_forest. */
	uint32_t changes = order_load_relaxed(&back_end->subvol_changes[number]);

	if (__builtin_expect(kept->subvol && kept->changes == changes, 1))
		return kept->subvol;
	kept->subvol = look_up_subvol(back_end, number);
	kept->changes = changes;
	return kept->subvol;
}

static int look_up_inode(struct seat *seat, uint32_t number, bool create, struct rs_subvol *subvol,
			 uint64_t *inode)
{
	const struct script *script = seat->back_end->script;
	const struct script_place *place = script_place(script, number);

	return rs_file_find(seat->writer, subvol, script_file_name(script, place->file), create,
			    inode);
}

/* The subvolume and the inode of a place; with `create` the file is made where there is none. */
static int find_place(struct seat *seat, uint32_t subvol_number, uint32_t number, bool create,
		      struct rs_subvol **subvol, uint64_t *inode)
{
	struct script_forest *back_end = seat->back_end;
	struct kept_inode *kept = &seat->inodes[number];
	/* Relaxed: see struct script_forest. */
	uint32_t changes = order_load_relaxed(&back_end->place_changes[number]);
	int ret;

	*subvol = find_subvol(seat, subvol_number);
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
	struct seat *seat = thread;
	struct rs_subvol *subvol;
	uint64_t inode;
	int ret = find_place(seat, operation->subvol, operation->place, true, &subvol, &inode);

	return ret ? ret :
		     rs_file_write(seat->writer, subvol, inode, operation->offset,
				   operation->length);
}

/* Both ends of a clone. The source is looked for first, as the kernel's callers open it first. */
static int find_ranges(struct seat *seat, const struct script_operation *operation, bool create,
		       struct rs_file_range *source, struct rs_file_range *target)
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
	struct seat *seat = thread;
	struct rs_file_range source;
	struct rs_file_range target;
	int ret = find_ranges(seat, operation, true, &source, &target);

	return ret ? ret : rs_file_clone(seat->writer, &source, operation->length, &target);
}

static int run_dedupe(void *thread, const struct script_operation *operation)
{
	struct seat *seat = thread;
	struct rs_file_range source;
	struct rs_file_range target;
	int ret = find_ranges(seat, operation, false, &source, &target);

	return ret ? ret : rs_file_dedupe(seat->writer, &source, operation->length, &target);
}

static int run_truncate(void *thread, const struct script_operation *operation)
{
	struct seat *seat = thread;
	struct rs_subvol *subvol;
	uint64_t inode;
	int ret = find_place(seat, operation->subvol, operation->place, true, &subvol, &inode);

	return ret ? ret : rs_file_truncate(seat->writer, subvol, inode, operation->size);
}

static int run_punch(void *thread, const struct script_operation *operation)
{
	struct seat *seat = thread;
	struct rs_subvol *subvol;
	uint64_t inode;
	int ret = find_place(seat, operation->subvol, operation->place, false, &subvol, &inode);

	return ret ? ret :
		     rs_file_punch(seat->writer, subvol, inode, operation->offset,
				   operation->length);
}

static int run_fallocate(void *thread, const struct script_operation *operation)
{
	struct seat *seat = thread;
	struct rs_subvol *subvol;
	uint64_t inode;
	int ret = find_place(seat, operation->subvol, operation->place, true, &subvol, &inode);

	return ret ? ret :
		     rs_file_fallocate(seat->writer, subvol, inode, operation->offset,
				       operation->length);
}

static int run_unlink(void *thread, const struct script_operation *operation)
{
	struct seat *seat = thread;
	const struct script *script = seat->back_end->script;
	const struct script_place *place = script_place(script, operation->place);
	struct rs_subvol *subvol = find_subvol(seat, operation->subvol);
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
	struct seat *seat = thread;
	struct rs_subvol *subvol;
	uint64_t inode;
	int ret = find_place(seat, operation->subvol, operation->place, false, &subvol, &inode);

	return ret ? ret : rs_file_defrag(seat->writer, subvol, inode);
}

/* What a name stands for has changed, or may have. */
static void subvol_changed(struct seat *seat, uint32_t number)
{
	/* Relaxed: see struct script_forest. */
	order_fetch_add_relaxed(&seat->back_end->subvol_changes[number], 1);
}

static int run_subvol(void *thread, const struct script_operation *operation)
{
	struct seat *seat = thread;
	struct rs_subvol *made;
	int ret = rs_subvol_create(seat->writer,
				   script_subvol_name(seat->back_end->script, operation->subvol),
				   &made);

	subvol_changed(seat, operation->subvol);
	return ret;
}

static int run_snapshot(void *thread, const struct script_operation *operation)
{
	struct seat *seat = thread;
	struct rs_subvol *source = find_subvol(seat, operation->subvol);
	struct rs_subvol *made;
	int ret;

	if (!source)
		return -ENOENT;
	ret = rs_subvol_snapshot(seat->writer, source,
				 script_subvol_name(seat->back_end->script,
						    operation->target_subvol),
				 operation->flags & SCRIPT_READ_ONLY, &made);
	subvol_changed(seat, operation->target_subvol);
	return ret;
}

static int run_delete(void *thread, const struct script_operation *operation)
{
	struct seat *seat = thread;
	struct rs_subvol *subvol = find_subvol(seat, operation->subvol);
	int ret;

	if (!subvol)
		return -ENOENT;
	ret = rs_subvol_delete(seat->writer, subvol);
	subvol_changed(seat, operation->subvol);
	return ret;
}

static int run_commit(void *thread, const struct script_operation *operation)
{
	struct seat *seat = thread;

	(void)operation;
	return rs_forest_commit(seat->writer);
}

static int run_drop_wait(void *thread, const struct script_operation *operation)
{
	struct seat *seat = thread;

	(void)operation;
	return rs_forest_drop_wait(seat->writer);
}

static void forest_leave(void *thread)
{
	struct seat *seat = thread;

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
	struct seat *seat = alloc_zeroed(1, sizeof(*seat));
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

static const struct script_backend backend_of_all = {
	.name = "the forest",
	.join = forest_join,
	.leave = forest_leave,
	.aborted = forest_aborted,
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
