// SPDX-License-Identifier: MIT
/* The tree of stacks. fold_read.c fills it from perf's text. */
#include "bench/profile/fold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

struct fold_name {
	char *text;
	enum fold_owner owner;
	uint64_t self; /* of stacks whose innermost function it is */
	uint64_t charged; /* of stacks whose innermost function of the program it is; else outside of the kernel */
};

/* Numbers of names or frames by a hash; 0 is free, else the number and 1. A power of two, at most half full. */
struct fold_hash {
	uint32_t *slots;
	size_t size;
	size_t used;
};

struct fold {
	struct fold_frame *frames;
	size_t frame_count;
	size_t frame_capacity;
	struct fold_name *names;
	size_t name_count;
	size_t name_capacity;
	struct fold_hash frame_hash;
	struct fold_hash name_hash;
};

static uint64_t fold_mix(uint64_t value)
{
	value *= UINT64_C(0x9e3779b97f4a7c15);
	return value ^ value >> 29;
}

static uint64_t fold_hash_text(const char *text)
{
	uint64_t hash = 0;

	for (; *text; text++)
		hash = fold_mix(hash ^ (unsigned char)*text);
	return hash;
}

static uint64_t fold_hash_frame(uint32_t parent, uint32_t name)
{
	return fold_mix((uint64_t)parent << 32 | name);
}

static uint64_t fold_hash_of(const struct fold *fold, const struct fold_hash *hash, uint32_t number)
{
	if (hash == &fold->name_hash)
		return fold_hash_text(fold->names[number].text);
	return fold_hash_frame(fold->frames[number].parent, fold->frames[number].name);
}

static void fold_hash_put(struct fold_hash *hash, uint64_t value, uint32_t number)
{
	size_t at = value & (hash->size - 1);

	/* Ends: half of the slots are free. */
	while (hash->slots[at])
		at = (at + 1) & (hash->size - 1);
	hash->slots[at] = number + 1;
	hash->used++;
}

/* Room for one more. */
static int fold_hash_reserve(const struct fold *fold, struct fold_hash *hash)
{
	struct fold_hash grown = { .size = hash->size ? hash->size * 2 : 1024 };
	size_t at;

	if (hash->used * 2 + 2 <= hash->size)
		return 0;
	grown.slots = alloc_zeroed(grown.size, sizeof(*grown.slots));
	if (!grown.slots)
		return -ENOMEM;
	for (at = 0; at < hash->size; at++)
		if (hash->slots[at])
			fold_hash_put(&grown, fold_hash_of(fold, hash, hash->slots[at] - 1),
				      hash->slots[at] - 1);
	alloc_free(hash->slots);
	*hash = grown;
	return 0;
}

/* The number of the name, which is new if nobody has had it. FOLD_NONE: no memory. */
static uint32_t fold_name_intern(struct fold *fold, const struct fold_function *function)
{
	struct fold_hash *hash = &fold->name_hash;
	uint64_t value = fold_hash_text(function->name);
	size_t at;
	void *grown;

	if (fold_hash_reserve(fold, hash))
		return FOLD_NONE;
	for (at = value & (hash->size - 1); hash->slots[at]; at = (at + 1) & (hash->size - 1))
		if (!strcmp(fold->names[hash->slots[at] - 1].text, function->name))
			return hash->slots[at] - 1;
	grown = array_grow(fold->names, fold->name_count, 1, &fold->name_capacity,
			   sizeof(fold->names[0]));
	if (!grown)
		return FOLD_NONE;
	fold->names = grown;
	fold->names[fold->name_count] = (struct fold_name){ .text = alloc_string(function->name),
							    .owner = function->owner };
	if (!fold->names[fold->name_count].text)
		return FOLD_NONE;
	fold_hash_put(hash, value, (uint32_t)fold->name_count);
	return (uint32_t)fold->name_count++;
}

static int fold_frame_add(struct fold *fold, uint32_t parent, uint32_t name, uint32_t *out)
{
	struct fold_frame *frame;
	void *grown = array_grow(fold->frames, fold->frame_count, 1, &fold->frame_capacity,
				 sizeof(fold->frames[0]));

	if (!grown)
		return -ENOMEM;
	fold->frames = grown;
	frame = &fold->frames[fold->frame_count];
	*frame = (struct fold_frame){ name, parent, FOLD_NONE, FOLD_NONE, 0, 0 };
	if (parent != FOLD_NONE) {
		frame->next = fold->frames[parent].child;
		frame->depth = fold->frames[parent].depth + 1;
		fold->frames[parent].child = (uint32_t)fold->frame_count;
	}
	*out = (uint32_t)fold->frame_count++;
	return 0;
}

static int fold_frame_get(struct fold *fold, uint32_t parent, uint32_t name, uint32_t *out)
{
	struct fold_hash *hash = &fold->frame_hash;
	uint64_t value = fold_hash_frame(parent, name);
	size_t at;
	int result = fold_hash_reserve(fold, hash);

	if (result)
		return result;
	for (at = value & (hash->size - 1); hash->slots[at]; at = (at + 1) & (hash->size - 1)) {
		*out = hash->slots[at] - 1;
		if (fold->frames[*out].parent == parent && fold->frames[*out].name == name)
			return 0;
	}
	result = fold_frame_add(fold, parent, name, out);
	if (!result)
		fold_hash_put(hash, value, *out);
	return result;
}

struct fold *fold_create(void)
{
	static const struct fold_function all = { "all", FOLD_PROGRAM };
	struct fold *fold = alloc_zeroed(1, sizeof(*fold));
	uint32_t name;
	uint32_t root;

	if (!fold)
		return NULL;
	name = fold_name_intern(fold, &all);
	if (name == FOLD_NONE || fold_frame_get(fold, FOLD_NONE, name, &root)) {
		fold_destroy(fold);
		return NULL;
	}
	return fold;
}

void fold_destroy(struct fold *fold)
{
	size_t at;

	if (!fold)
		return;
	for (at = 0; at < fold->name_count; at++)
		alloc_free(fold->names[at].text);
	alloc_free(fold->names);
	alloc_free(fold->frames);
	alloc_free(fold->name_hash.slots);
	alloc_free(fold->frame_hash.slots);
	alloc_free(fold);
}

int fold_add(struct fold *fold, const struct fold_function *stack, size_t depth, uint64_t weight)
{
	size_t limit = depth < FOLD_DEPTH_MAX ? depth : FOLD_DEPTH_MAX;
	uint32_t charged = FOLD_NONE;
	uint32_t outside =
		FOLD_NONE; /* of the kernel: who called it, where no function is the program's */
	uint32_t frame = 0;
	uint32_t name = 0;
	size_t at;

	/* Places for all of it first; frames without a weight are drawn by nobody. */
	for (at = limit; at-- > 0;) {
		name = fold_name_intern(fold, &stack[at]);
		if (name == FOLD_NONE || fold_frame_get(fold, frame, name, &frame))
			return -ENOMEM;
		if (stack[at].owner == FOLD_PROGRAM)
			charged = name;
		if (stack[at].owner != FOLD_KERNEL)
			outside = name;
	}
	if (charged == FOLD_NONE)
		charged = outside != FOLD_NONE ? outside : name;
	fold->names[name].self += weight;
	fold->names[charged].charged += weight;
	for (; frame != FOLD_NONE; frame = fold->frames[frame].parent)
		fold->frames[frame].weight += weight;
	return 0;
}

size_t fold_frames(const struct fold *fold)
{
	return fold->frame_count;
}

const struct fold_frame *fold_frame(const struct fold *fold, uint32_t number)
{
	return &fold->frames[number];
}

const char *fold_name(const struct fold *fold, uint32_t name)
{
	return fold->names[name].text;
}

size_t fold_top(const struct fold *fold, bool program, struct fold_share *shares, size_t room)
{
	size_t count = 0;
	size_t at;
	size_t to;

	for (at = 0; at < fold->name_count && room; at++) {
		const struct fold_name *name = &fold->names[at];
		struct fold_share share = { name->text, program ? name->charged : name->self };

		if (!share.weight || (count == room && shares[count - 1].weight >= share.weight))
			continue;
		if (count < room)
			count++;
		/* There are few of them: each goes to its place. */
		for (to = count - 1; to && shares[to - 1].weight < share.weight; to--)
			shares[to] = shares[to - 1];
		shares[to] = share;
	}
	return count;
}
