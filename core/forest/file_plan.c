/* SPDX-License-Identifier: MIT */
/* What a write or a preallocation is going to do: which pieces, and with what space. */
#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/forest/file_impl.h"

int file_plan_add(struct file_plan *plan, uint64_t start, uint64_t end, bool in_place)
{
	struct file_piece *last = plan->count ? &plan->pieces[plan->count - 1] : NULL;
	struct file_piece *grown;

	if (last && !last->in_place && !in_place && last->end == start) {
		last->end = end;
		return 0;
	}
	grown = array_grow(plan->pieces, plan->count, 1, &plan->capacity, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	plan->pieces = grown;
	grown[plan->count++] = (struct file_piece){ start, end, in_place };
	return 0;
}

/* Gives back the space from number `first` on. */
static void give_back(struct rs_writer *writer, struct file_plan *plan, size_t first)
{
	size_t at;

	for (at = first; at < plan->space_count; at++)
		space_give_back(&writer->windows[SPACE_DATA], plan->spaces[at].bytenr,
				plan->spaces[at].bytes);
	plan->space_count = first;
}

static int take_piece(struct rs_writer *writer, struct file_plan *plan, uint64_t bytes)
{
	while (bytes) {
		struct space_piece *grown = array_grow(plan->spaces, plan->space_count, 1,
						       &plan->space_capacity, sizeof(*grown));
		uint64_t want = bytes < SPACE_EXTENT_MAX ? bytes : SPACE_EXTENT_MAX;
		int ret;

		if (!grown)
			return -ENOMEM;
		plan->spaces = grown;
		grown += plan->space_count;
		ret = space_take(&writer->windows[SPACE_DATA], want, FILE_BLOCK, &grown->bytenr,
				 &grown->bytes);
		if (ret)
			return ret;
		plan->space_count++;
		bytes -= grown->bytes;
	}
	return 0;
}

int file_plan_take(struct rs_writer *writer, struct file_plan *plan)
{
	size_t at;

	for (at = 0; at < plan->count; at++) {
		const struct file_piece *piece = &plan->pieces[at];
		int ret = piece->in_place ? 0 : take_piece(writer, plan, piece->end - piece->start);

		if (ret) {
			give_back(writer, plan, 0);
			return ret;
		}
	}
	return 0;
}

/* New extents in place of what is there; `*used` counts the space that is in the tree. */
static int piece_replace(struct file *file, const struct file_plan *plan,
			 const struct file_piece *piece, uint8_t type, size_t *used)
{
	struct file_extent extent = {
		.offset = piece->start,
		.generation = file->writer->generation,
		.type = type,
	};
	int ret = file_replace_begin(file);

	if (!ret)
		ret = file_drop(file, piece->start, piece->end);
	while (!ret && extent.offset < piece->end) {
		extent.bytenr = plan->spaces[*used].bytenr;
		extent.bytes = plan->spaces[*used].bytes;
		extent.length = extent.bytes;
		extent.ram_bytes = extent.bytes;
		ret = file_insert(file, RS_REF_ALLOCATE, &extent);
		if (ret)
			return file_replace_failed(file, ret);
		extent.offset += extent.length;
		++*used;
	}
	return ret;
}

int file_plan_apply(struct file *file, struct file_plan *plan, uint8_t type)
{
	size_t used = 0;
	size_t at;
	int ret = 0;

	for (at = 0; !ret && at < plan->count; at++) {
		const struct file_piece *piece = &plan->pieces[at];

		if (piece->in_place)
			ret = file_mark_written(file, piece->start, piece->end);
		else
			ret = piece_replace(file, plan, piece, type, &used);
		/* Items do not lie behind the file's end, also if this is as far as it gets. */
		if (!ret)
			file_grow(file, piece->end);
	}
	give_back(file->writer, plan, used);
	return ret;
}

void file_plan_destroy(struct file_plan *plan)
{
	alloc_free(plan->pieces);
	alloc_free(plan->spaces);
}
